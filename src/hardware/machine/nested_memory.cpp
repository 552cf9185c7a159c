#include "machine/nested_memory.hpp"

#include <algorithm>

namespace cbit::machine {
namespace {

std::uint64_t bytes_in_page(GuestPhysAddr at, std::uint64_t bytes) {
  return std::min(bytes, page_size - at.page_offset());
}

}  // namespace

tl::unexpected<Fault> NestedMemory::refuse(const Fault& fault) {
  machine_->tracer().emit({AgentKind::cpu, 0}, AccessFault{fault, config_.site});
  return tl::unexpected{fault};
}

// The C-bit of a nested entry is the host's; a guest's own C-bit overrides it with the guest's key.
Result<NestedMemory::Place> NestedMemory::locate(GuestPhysAddr at, paging::Intent intent, bool encrypted) {
  const SevFirmware* const firmware = machine_->sev_firmware();
  if (is_encrypted(config_.kind) && (firmware == nullptr || !firmware->asid_is_valid(config_.asid)))
    return fault(FaultKind::address_width, at.value(), intent == paging::Intent::write);
  const auto found = paging::walk(machine_->memory(), machine_->paging(), config_.ncr3, VirtAddr{at.value()},
                                  intent, {.user = true}, access(no_key));
  if (!found) return tl::unexpected{found.error()};
  const bool own_key = encrypted && is_encrypted(config_.kind);
  if (config_.kind == GuestKind::sev_snp) CBIT_TRY(check_rmp(found->phys, at, intent, own_key));
  return Place{found->phys, own_key ? mem::guest_key(config_.asid) : found->key};
}

// APM vol. 2, 15.36.10: a private page is assigned to this guest at this address, and validated; a shared one
// is the hypervisor's where it is written.
Result<void> NestedMemory::check_rmp(PhysAddr phys, GuestPhysAddr at, paging::Intent intent, bool encrypted) {
  const mem::RmpEntry entry = machine_->memory().rmp(phys);
  const bool write = intent == paging::Intent::write;
  const bool mine = entry.belongs_to(config_.asid, at.page_number()) && entry.validated();
  if (encrypted ? mine : !write || !entry.assigned()) return {};
  return refuse({FaultKind::rmp_violation, phys.value(), write});
}

Result<void> NestedMemory::read(GuestPhysAddr from, ByteSpan to, bool encrypted) {
  while (!to.empty()) {
    const std::uint64_t now = bytes_in_page(from, to.size());
    const Place place = CBIT_TRY(locate(from, paging::Intent::read, encrypted));
    CBIT_TRY(machine_->memory().read(place.phys, to.first(now), access(place.key)));
    to = to.subspan(now);
    from += now;
  }
  return {};
}

Result<void> NestedMemory::write(GuestPhysAddr to, ConstByteSpan from, bool encrypted) {
  while (!from.empty()) {
    const std::uint64_t now = bytes_in_page(to, from.size());
    const Place place = CBIT_TRY(locate(to, paging::Intent::write, encrypted));
    CBIT_TRY(machine_->memory().write(place.phys, from.first(now), access(place.key)));
    from = from.subspan(now);
    to += now;
  }
  return {};
}

// APM vol. 3, PVALIDATE: the page must be this guest's at this address already.
Result<bool> NestedMemory::pvalidate(GuestPhysAddr page, bool validated) {
  const auto found =
      paging::walk(machine_->memory(), machine_->paging(), config_.ncr3, VirtAddr{page.value()},
                   paging::Intent::read, {.user = true}, access(no_key));
  if (!found) return tl::unexpected{found.error()};
  const mem::RmpEntry entry = machine_->memory().rmp(found->phys);
  if (config_.kind != GuestKind::sev_snp || !entry.belongs_to(config_.asid, page.page_number()))
    return refuse({FaultKind::rmp_violation, found->phys.value(), true});
  if (entry.validated() == validated) return false;
  machine_->memory().rmp_update(found->phys.page(), entry.with<mem::RmpEntry::Validated>(validated));
  return true;
}

}  // namespace cbit::machine
