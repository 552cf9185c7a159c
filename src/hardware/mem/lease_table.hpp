// Who holds leases of which page. No locks: see mem/lease.hpp.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "mem/lease.hpp"

namespace cbit::mem {

class LeaseTable {
 public:
  // The leases of one page, as bits of LeaseIntent.
  using Intents = std::uint8_t;
  [[nodiscard]] static constexpr Intents bit(LeaseIntent intent) { return static_cast<Intents>(intent); }

  // What all holders together have of the page afterwards.
  Intents add(PhysAddr page, LeaseIntent intent, LeaseHolder& holder);
  // Ends all leases of the page, or all of those who have one of this intent, and tells the holders.
  void revoke(PhysAddr page);
  Intents revoke(PhysAddr page, LeaseIntent intent);
  // Ends those of one holder, without telling it.
  Intents remove(PhysAddr page, LeaseHolder& holder);
  [[nodiscard]] std::vector<PhysAddr> pages_of(const LeaseHolder& holder) const;
  void tell_of_write(PhysAddr at, std::uint64_t bytes) const;

 private:
  struct Lease {
    LeaseHolder* holder;
    Intents intents;
  };
  using Leases = std::vector<Lease>;
  // Forgets the page if nobody has any lease of it.
  Intents settle(std::unordered_map<std::uint64_t, Leases>::iterator page);

  std::unordered_map<std::uint64_t, Leases> pages_;  // by page number
};

}  // namespace cbit::mem
