#include "chipset/amd_iommu.hpp"

#include "chipset/pc_map.hpp"

namespace cbit::chipset {

using namespace spec;

namespace {

constexpr mem::PhysRange registers{pc_map::iommu_base, amd_iommu_mmio_bytes};

}  // namespace

AmdIommuFunction::AmdIommuFunction(PcChipset& chipset, bus::SystemBus& memory)
    : PciFunction{identity, nullptr},
      chipset_{&chipset},
      memory_{&memory},
      iommu_{{memory.device_view(), requester},
             memory.memory(),
             memory.tracer(),
             [this](const iommu::AmdIommuSignal& what) { signal(what); }} {
  add_capability_block();
  add_msi(1);
  memory.add_mmio(registers, *this);
  memory.set_iommu(&iommu_);
  chipset.messages().set_sink(*this);
}

AmdIommuFunction::~AmdIommuFunction() {
  chipset_->messages().set_sink(chipset_->apic_bus());
  memory_->set_iommu(nullptr);
  memory_->remove_mmio(registers, *this);
}

// As firmware leaves it: enabled, which locks the address.
void AmdIommuFunction::add_capability_block() {
  namespace block = amd_iommu_capability;
  capability_ = config().add_capability(block::id, block::bytes);
  const auto header = AmdIommuCapability{}
                          .with<AmdIommuCapability::CapExt>(true)
                          .with<AmdIommuCapability::EfrSup>(true)
                          .with<AmdIommuCapability::Revision>(amd_iommu_capability_revision)
                          .with<AmdIommuCapability::Type>(amd_iommu_capability_type);
  config().define(capability_ + block::header + 2, header.raw);
  constexpr std::uint32_t enabled = 1;
  const std::uint64_t base = pc_map::iommu_base.value();
  config().define(capability_ + block::base_low, static_cast<std::uint32_t>(base) | enabled);
  config().define(capability_ + block::base_high, static_cast<std::uint32_t>(base >> 32));
}

void AmdIommuFunction::signal(const iommu::AmdIommuSignal& signal) {
  if (!signal.xt) return interrupt(0);
  const AmdIommuXtInterrupt xt = *signal.xt;
  constexpr ApicDelivery deliveries[] = {ApicDelivery::fixed, ApicDelivery::lowest_priority};
  chipset_->apic_bus().send({.destination = xt.destination(),
                             .wide = true,
                             .logical = xt.get<AmdIommuXtInterrupt::DestinationMode>(),
                             .delivery = deliveries[xt.get<AmdIommuXtInterrupt::DeliveryMode>()],
                             .vector = xt.get<AmdIommuXtInterrupt::Vector>()});
}

Result<void> AmdIommuFunction::read(std::uint64_t offset, ByteSpan to) {
  iommu_.read(offset, to);
  return {};
}

Result<void> AmdIommuFunction::write(std::uint64_t offset, ConstByteSpan from) {
  iommu_.write(offset, from);
  return {};
}

bool AmdIommuFunction::deliver(const bus::MessageInterrupt& message) {
  if (!message.requester) return chipset_->apic_bus().deliver(message);
  const MsiData data{{message.data}};
  const auto to = iommu_.remap(*message.requester, {{{message.address}}, data});
  if (!to) return false;
  if (to->untouched) return chipset_->apic_bus().deliver(message);
  return chipset_->apic_bus().send({.destination = to->destination,
                                    .wide = to->wide,
                                    .logical = to->logical,
                                    .delivery = to->delivery,
                                    .vector = to->vector,
                                    .level = data.get<MsiData::Level>()});
}

}  // namespace cbit::chipset
