// Who holds leases of which page. The only holder of a page is named in the page's state, which costs nothing
// to write; pages of several, as processors and what keeps their code are, stand in a table. No locks: see
// mem/lease.hpp.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "mem/lease.hpp"
#include "mem/page_store.hpp"

namespace cbit::mem {

class LeaseTable {
 public:
  // The leases of one page, as bits of LeaseIntent: PageState::leases has what all holders together have.
  using Intents = std::uint8_t;
  [[nodiscard]] static constexpr Intents bit(LeaseIntent intent) { return static_cast<Intents>(intent); }

  void add(PageState& state, PhysAddr page, LeaseIntent intent, LeaseHolder& holder);
  // Ends all leases of the page, or all of those who have one of this intent, and tells the holders.
  void revoke(PageState& state, PhysAddr page);
  void revoke(PageState& state, PhysAddr page, LeaseIntent intent);
  // Ends those of one holder, without telling it.
  void remove(PageState& state, PhysAddr page, const LeaseHolder& holder);
  // A holder that has no leases any more.
  void forget(const LeaseHolder& holder);
  void tell_of_write(const PageState& state, PhysAddr at, std::uint64_t bytes) const;

 private:
  struct Lease {
    LeaseHolder* holder;
    Intents intents;
  };
  using Leases = std::vector<Lease>;
  // Values of PageState::lessee beside the number of a holder.
  static constexpr std::uint16_t nobody = 0, several = 0xffff;

  // Not `nobody`. `several`: no number is left for it.
  std::uint16_t number_of(LeaseHolder& holder);
  [[nodiscard]] LeaseHolder* holder_of(std::uint16_t number) const { return holders_[number - 1u]; }
  // What is known of a page of several, which becomes one if it is not.
  Leases& leases_of_several(PageState& state, PhysAddr page);
  // After some of several have been taken away.
  void settle(PageState& state, PhysAddr page, const Leases& left);

  std::vector<LeaseHolder*> holders_;  // by number, from 1 on; nullptr: a number to be given again
  std::unordered_map<std::uint64_t, Leases> shared_;  // by page number
};

}  // namespace cbit::mem
