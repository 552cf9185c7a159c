// An entry of the reverse map table: to whom a page of memory belongs, and where its guest believes it is.
// APM vol. 2, 15.36.3. The table's format in memory is not architectural, and neither is this one.
#pragma once

#include <cstdint>

#include "base/reg.hpp"
#include "mem/key_table.hpp"

namespace cbit::mem {

struct RmpEntry : Register<RmpEntry, std::uint64_t> {
  using GuestPage = Field<63, 12>;  // guest-physical page number
  using Asid = Field<11, 2, std::uint16_t>;
  using Validated = Field<1, 1, bool>;  // the guest has accepted the page (PVALIDATE)
  using Assigned = Field<0, 0, bool>;   // 0: the hypervisor's

  [[nodiscard]] bool assigned() const { return get<Assigned>(); }
  [[nodiscard]] bool validated() const { return get<Validated>(); }
  // The key that may write the page; no_key: every key that is not a guest's with RMP protection.
  [[nodiscard]] KeyId owner() const { return assigned() ? guest_key(get<Asid>()) : no_key; }
  [[nodiscard]] bool belongs_to(unsigned asid, std::uint64_t guest_page) const {
    return assigned() && get<Asid>() == asid && get<GuestPage>() == guest_page;
  }
};

// What RMPUPDATE writes when a hypervisor gives a page to a guest: not validated yet.
[[nodiscard]] inline RmpEntry assigned_page(unsigned asid, std::uint64_t guest_page) {
  return RmpEntry{}
      .with<RmpEntry::GuestPage>(guest_page)
      .with<RmpEntry::Asid>(static_cast<std::uint16_t>(asid))
      .with<RmpEntry::Assigned>(true);
}

}  // namespace cbit::mem
