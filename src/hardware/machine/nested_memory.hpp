// Memory as a running guest reaches it: guest-physical addresses through the host's nested page table, under
// the guest's key where the guest's own mapping has the C-bit. APM vol. 2, 15.25 (nested paging), 15.34
// (SEV), 15.36 (SEV-SNP).
//
// The guest's first-level translation is the caller's: it gives guest-physical addresses with the C-bit that
// the guest's page table has. Without that bit the access is made as the nested entry says.
//
// Faults: not_present, protection (nested page fault: the host's to resolve; address = guest-physical);
// rmp_violation where SNP finds that the page is not this guest's at this address, or not validated by it;
// address_width (VMEXIT_INVALID) where the ASID is not valid for VMRUN. Threading: one thread.
#pragma once

#include "machine/machine.hpp"
#include "paging/walker.hpp"

namespace cbit::machine {

using GuestPhysAddr = Addr<struct GuestPhysTag>;  // what a guest takes for physical

[[nodiscard]] constexpr bool is_encrypted(GuestKind kind) { return kind != GuestKind::plain; }

class NestedMemory {
 public:
  struct Config {
    GuestKind kind = GuestKind::plain;
    unsigned asid = 0;  // of an encrypted guest
    PtePhys ncr3;       // root of the nested page table
    SiteId site = 0;    // names the guest in page history
  };
  NestedMemory(Machine& machine, const Config& config) : machine_{&machine}, config_{config} {}

  [[nodiscard]] const Config& config() const { return config_; }

  Result<void> read(GuestPhysAddr from, ByteSpan to, bool encrypted);
  Result<void> write(GuestPhysAddr to, ConstByteSpan from, bool encrypted);
  // PVALIDATE of a 4 KiB page. False: CF, nothing changed. rmp_violation when the page is not this guest's.
  Result<bool> pvalidate(GuestPhysAddr page, bool validated);

  // Where a guest-physical page lies, and under which key an access reaches it.
  struct Place {
    PhysAddr phys;
    KeyId key = no_key;
  };
  Result<Place> locate(GuestPhysAddr at, paging::Intent intent, bool encrypted);

 private:
  [[nodiscard]] Result<void> check_rmp(PhysAddr phys, GuestPhysAddr at, paging::Intent intent,
                                       bool encrypted);
  tl::unexpected<Fault> refuse(const Fault& fault);
  [[nodiscard]] mem::Access access(KeyId key) const { return {{AgentKind::cpu, 0}, key, config_.site}; }

  Machine* machine_;
  Config config_;
};

}  // namespace cbit::machine
