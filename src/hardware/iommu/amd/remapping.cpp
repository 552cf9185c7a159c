// A device's interrupt: device table, interrupt remapping table. 2.2.5 of the specification.
#include "iommu/amd/amd_iommu.hpp"

namespace cbit::iommu {

using namespace spec;

namespace {

constexpr std::uint32_t index_mask = 0x7ff;  // of the message's data
constexpr AmdIommuEvent remap_fault =
    AmdIommuEvent{}.with<AmdIommuEvent::Code>(AmdIommuEventCode::io_page_fault);
constexpr AmdIommuEvent illegal_interrupt_entry =
    AmdIommuEvent{}.with<AmdIommuEvent::Code>(AmdIommuEventCode::illegal_dev_table_entry);

bool is_remappable(ApicDelivery delivery) {
  return delivery == ApicDelivery::fixed || delivery == ApicDelivery::lowest_priority;
}

// What is not remapped passes where the device's entry allows it.
bool passes(AmdIommuDte2 entry, ApicDelivery delivery) {
  switch (delivery) {
    case ApicDelivery::nmi: return entry.get<AmdIommuDte2::NmiPass>();
    case ApicDelivery::init: return entry.get<AmdIommuDte2::InitPass>();
    case ApicDelivery::ext_int: return entry.get<AmdIommuDte2::EIntPass>();
    default: return false;
  }
}

// Both formats' low halves.
RemappedInterrupt remapped(AmdIommuIrte entry) {
  return {.destination = entry.get<AmdIommuIrte::Destination>(),
          .logical = entry.get<AmdIommuIrte::Dm>(),
          .delivery = static_cast<ApicDelivery>(entry.get<AmdIommuIrte::IntType>()),
          .vector = entry.get<AmdIommuIrte::Vector>()};
}

RemappedInterrupt remapped_wide(std::array<std::uint64_t, 2> raw, bool xt) {
  const AmdIommuIrteLow low{{raw[0]}};
  const AmdIommuIrteHigh high{{raw[1]}};
  RemappedInterrupt out = remapped({{static_cast<std::uint32_t>(raw[0])}});
  out.vector = high.get<AmdIommuIrteHigh::Vector>();
  out.wide = xt;
  if (xt)
    out.destination =
        high.get<AmdIommuIrteHigh::Destination>() << 24 | low.get<AmdIommuIrteLow::Destination>();
  return out;
}

}  // namespace

std::optional<RemappedInterrupt> AmdIommu::remap(RequesterId requester,
                                                 const InterruptRequest& interrupt) const {
  const Request request{requester, interrupt.address.raw, true, true};
  const auto found = look_up_interrupt(request, interrupt);
  if (found) return *found;
  log(found.error());
  return std::nullopt;
}

AmdIommu::Looked<RemappedInterrupt> AmdIommu::look_up_interrupt(const Request& request,
                                                                const InterruptRequest& interrupt) const {
  constexpr RemappedInterrupt untouched{.untouched = true};
  if (!control().get<AmdIommuControl::IommuEn>()) return untouched;
  const DeviceEntry entry = CBIT_TRY(device_entry(request, Look::access));
  if (!entry.interrupts.get<AmdIommuDte2::Iv>()) return untouched;
  if (entry.reserved_bits)
    return refuse(request, FaultKind::iommu_reserved_bit,
                  illegal_interrupt_entry.with<AmdIommuEvent::Rz>(true));
  const auto delivery = interrupt.data.get<MsiData::Delivery>();
  if (!is_remappable(delivery)) {
    if (passes(entry.interrupts, delivery)) return untouched;
    return refuse(request, FaultKind::iommu_protection, remap_fault.with<AmdIommuEvent::Pe>(true));
  }
  switch (entry.interrupts.get<AmdIommuDte2::IntCtl>()) {
    case AmdIommuIntCtl::pass: return untouched;
    case AmdIommuIntCtl::remap: return through_remapping_table(request, entry, interrupt);
    case AmdIommuIntCtl::abort:
      return refuse(request, FaultKind::iommu_protection, remap_fault.with<AmdIommuEvent::Pe>(true));
    case AmdIommuIntCtl::reserved: break;
  }
  return refuse(request, FaultKind::iommu_reserved_bit, illegal_interrupt_entry);
}

AmdIommu::Looked<RemappedInterrupt> AmdIommu::through_remapping_table(
    const Request& request, const DeviceEntry& entry, const InterruptRequest& interrupt) const {
  const unsigned length = entry.interrupts.get<AmdIommuDte2::IntTabLen>();
  if (length > amd_iommu_int_tab_len_max)
    return refuse(request, FaultKind::iommu_reserved_bit, illegal_interrupt_entry);
  const bool quiet = entry.interrupts.get<AmdIommuDte2::Ig>();
  const auto not_there = [&](bool suppressed) {
    auto refused = refuse(request, FaultKind::iommu_not_present, remap_fault);
    refused.value().suppressed = suppressed;
    return refused;
  };
  const std::uint32_t index = interrupt.data.raw & index_mask;
  if (index >> length != 0) return not_there(quiet);

  const bool wide = control().get<AmdIommuControl::GaEn>();
  std::array<std::byte, 2 * sizeof(std::uint64_t)> raw{};
  const std::size_t bytes = wide ? raw.size() : sizeof(std::uint32_t);
  const PtePhys table = entry.interrupts.table();
  if (!read_memory(table, index * bytes, ByteSpan{raw}.first(bytes), Look::access))
    return hardware_error(request, AmdIommuEventCode::page_tab_hardware_error,
                          format_.follow(table).first.value() + index * bytes);
  const AmdIommuIrte low{{load<std::uint32_t>(raw)}};
  if (!low.get<AmdIommuIrte::RemapEn>()) return not_there(quiet || low.get<AmdIommuIrte::SupIoPf>());
  const bool known = is_remappable(static_cast<ApicDelivery>(low.get<AmdIommuIrte::IntType>()));
  if (!known || low.get<AmdIommuIrte::GuestMode>()) {
    auto refused = refuse(request, FaultKind::iommu_reserved_bit,
                          remap_fault.with<AmdIommuEvent::Pr>(true).with<AmdIommuEvent::Rz>(true));
    refused.value().suppressed = low.get<AmdIommuIrte::SupIoPf>();
    return refused;
  }
  if (!wide) return remapped(low);
  return remapped_wide(load<std::array<std::uint64_t, 2>>(raw), control().get<AmdIommuControl::XtEn>());
}

}  // namespace cbit::iommu
