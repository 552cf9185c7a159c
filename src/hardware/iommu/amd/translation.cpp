// A device's access: device table, IOTLB, page table. 2.2.2 and 2.2.3 of the specification.
#include "iommu/amd/amd_iommu.hpp"
#include "iommu/io_walk.hpp"
#include "spec/apic.hpp"

namespace cbit::iommu {

using namespace spec;

namespace {

constexpr std::size_t held_pages_max = 4096;  // of one domain
constexpr std::size_t held_domains_max = 64;

bool in_interrupt_window(std::uint64_t address) { return address - msi_window < msi_window_bytes; }

bool is_permitted(IoDte entry, bool write) { return write ? entry.get<IoDte::Iw>() : entry.get<IoDte::Ir>(); }

constexpr AmdIommuEvent page_fault =
    AmdIommuEvent{}.with<AmdIommuEvent::Code>(AmdIommuEventCode::io_page_fault);
constexpr AmdIommuEvent illegal_entry =
    AmdIommuEvent{}.with<AmdIommuEvent::Code>(AmdIommuEventCode::illegal_dev_table_entry);

// IO_PAGE_FAULT of what the walk says; nullopt: it did not get that far.
std::optional<AmdIommuEvent> event_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::iommu_not_present: return page_fault;
    case FaultKind::iommu_protection:
      return page_fault.with<AmdIommuEvent::Pr>(true).with<AmdIommuEvent::Pe>(true);
    case FaultKind::iommu_reserved_bit:
      return page_fault.with<AmdIommuEvent::Pr>(true).with<AmdIommuEvent::Rz>(true);
    default: return std::nullopt;
  }
}

}  // namespace

Result<IommuTranslation> AmdIommu::translate(RequesterId requester, DmaAddr at, bool write) const {
  const auto found = look_up({requester, at.value(), write}, Look::access);
  if (found) return *found;
  log(found.error());
  return tl::unexpected{found.error().fault};
}

Result<IommuTranslation> AmdIommu::peek(RequesterId requester, DmaAddr at, bool write) const {
  const auto found = look_up({requester, at.value(), write}, Look::peek);
  if (found) return *found;
  return tl::unexpected{found.error().fault};
}

AmdIommu::Looked<IommuTranslation> AmdIommu::look_up(const Request& request, Look look) const {
  const DmaAddr at{request.address};
  if (!control().get<AmdIommuControl::IommuEn>()) return untranslated(config_.view, at);
  const DeviceEntry entry = CBIT_TRY(device_entry(request, look));
  // 2.2.2, V: all of the entry but its interrupt part counts only if it is set.
  if (!entry.translation.get<IoDte::V>() || is_excluded(entry, request.address))
    return untranslated(config_.view, at);

  const auto suppress = [&entry](Refusal refusal) {
    refusal.event = refusal.event.with<AmdIommuEvent::DomainId>(entry.flags.get<AmdIommuDte1::DomainId>());
    refusal.suppressed =
        entry.flags.get<AmdIommuDte1::Sa>() || (entry.flags.get<AmdIommuDte1::Se>() && entry.fault_told);
    return refusal;
  };
  return through_table(request, entry, look).map_error(suppress);
}

AmdIommu::Looked<IommuTranslation> AmdIommu::through_table(const Request& request, const DeviceEntry& entry,
                                                           Look look) const {
  const unsigned mode = entry.translation.get<IoDte::Mode>();
  if (entry.reserved_bits)
    return refuse(request, FaultKind::iommu_reserved_bit, illegal_entry.with<AmdIommuEvent::Rz>(true));
  if (mode > io_levels_max) return refuse(request, FaultKind::iommu_reserved_bit, illegal_entry);
  const bool nothing = !entry.translation.get<IoDte::Ir>() && !entry.translation.get<IoDte::Iw>();
  const AmdIommuEvent not_permitted = *event_of(FaultKind::iommu_protection);
  if (!entry.translation.get<IoDte::Tv>() || (mode == 0 && nothing))
    return refuse(request, FaultKind::iommu_no_domain, not_permitted);
  if (!is_permitted(entry.translation, request.write))
    return refuse(request, FaultKind::iommu_protection, not_permitted);
  // Writes to the window are interrupts, which devices send by MSI; a DMA access there reaches no memory.
  if (in_interrupt_window(request.address))
    return refuse(request, FaultKind::iommu_protection, not_permitted);
  if (mode == 0) return untranslated(config_.view, DmaAddr{request.address});
  return walk_table(request, entry, look);
}

// Page by page: what is held has the size of one.
AmdIommu::Looked<IommuTranslation> AmdIommu::walk_table(const Request& request, const DeviceEntry& entry,
                                                        Look look) const {
  const DmaAddr at{request.address}, page = at.page();
  const std::uint16_t domain = entry.flags.get<AmdIommuDte1::DomainId>();
  if (look == Look::access) {
    if (held_.size() >= held_domains_max && !held_.contains(domain)) held_.clear();
    const Iotlb& held = held_.try_emplace(domain, held_pages_max).first->second;
    if (const auto found = held.find(at, request.write)) return *found;
  }
  auto found =
      walk(format_, entry.translation, page, request.write, [&](PhysAddr from, KeyId key) -> Result<IoPte> {
        std::array<std::byte, sizeof(IoPte)> raw;
        const mem::Access access{access_.agent, key, access_.site};
        CBIT_TRY(look == Look::peek ? memory_->peek(from, raw, key) : memory_->read(from, raw, access));
        return load<IoPte>(raw);
      });
  if (!found) {
    const Fault why = found.error();
    const auto event = event_of(why.kind);
    if (event) return refuse(request, why.kind, *event);
    return hardware_error(request, AmdIommuEventCode::page_tab_hardware_error, why.address);
  }
  found->bytes = page_size;
  if (look == Look::access) held_.at(domain).hold_more(page, *found, {!request.write, request.write});
  return found->at(at - page);
}

// 3.4.5, 3.4.6: from the base to the end of the limit's page.
bool AmdIommu::is_excluded(const DeviceEntry& entry, std::uint64_t address) const {
  const auto base = get<AmdIommuExclusionBase>(amd_iommu_register::exclusion_base);
  if (!base.get<AmdIommuExclusionBase::ExEn>()) return false;
  if (!base.get<AmdIommuExclusionBase::Allow>() && !entry.flags.get<AmdIommuDte1::Ex>()) return false;
  const std::uint64_t last = registers_.value(amd_iommu_register::exclusion_limit) | bit_mask(12);
  return address >= base.get<AmdIommuExclusionBase::Base>() << 12 && address <= last;
}

AmdIommu::Looked<AmdIommu::DeviceEntry> AmdIommu::device_entry(const Request& request, Look look) const {
  if (const auto held = entries_.find(request.requester); held != entries_.end()) return held->second;
  const auto base = get<AmdIommuDeviceTableBase>(amd_iommu_register::device_table_base);
  const std::uint64_t offset = std::uint64_t{request.requester} * sizeof(AmdIommuDte);
  if (offset >= base.bytes()) return refuse(request, FaultKind::iommu_no_domain, page_fault);

  std::array<std::byte, sizeof(AmdIommuDte)> raw{};
  if (!read_memory(base.table(), offset, raw, look))
    return hardware_error(request, AmdIommuEventCode::dev_tab_hardware_error,
                          format_.follow(base.table()).first.value() + offset);
  const auto quads = load<AmdIommuDte>(raw);
  DeviceEntry entry{.translation = {{quads[0]}}, .flags = {{quads[1]}}, .interrupts = {{quads[2]}}};
  for (std::size_t i = 0; i < quads.size(); ++i)
    entry.reserved_bits |= (quads[i] & amd_iommu_dte_reserved[i]) != 0;
  if (look == Look::access) entries_.emplace(request.requester, entry);
  return entry;
}

tl::unexpected<AmdIommu::Refusal> AmdIommu::refuse(const Request& request, FaultKind kind,
                                                   AmdIommuEvent event) {
  event = event.with<AmdIommuEvent::DeviceId>(request.requester)
              .with<AmdIommuEvent::Rw>(request.write && !request.interrupt)
              .with<AmdIommuEvent::I>(request.interrupt);
  return tl::unexpected{Refusal{{kind, request.address, request.write}, event, request.address}};
}

tl::unexpected<AmdIommu::Refusal> AmdIommu::hardware_error(const Request& request, AmdIommuEventCode code,
                                                           std::uint64_t address) {
  auto refused = refuse(request, FaultKind::iommu_reserved_bit,
                        AmdIommuEvent{}.with<AmdIommuEvent::Code>(code).with<AmdIommuEvent::Type>(
                            AmdIommuHardwareError::master_abort));
  refused.value().address = address;
  return refused;
}

}  // namespace cbit::iommu
