// An AMD IOMMU in a PC: its PCI function with the capability block that software finds it by, its registers
// at pc_map::iommu_base, and its place between devices on one side, memory and local APICs on the other.
//
// Sources: AMD I/O Virtualization Technology (IOMMU) Specification, 48882, 3.2 and 3.3. Threading: one
// thread, that of the machine.
#pragma once

#include "bus/message_interrupt.hpp"
#include "bus/pci/function.hpp"
#include "bus/system_bus.hpp"
#include "chipset/pc_chipset.hpp"
#include "iommu/amd/amd_iommu.hpp"

namespace cbit::chipset {

class AmdIommuFunction final : public bus::PciFunction,
                               private bus::MmioRegion,
                               private bus::MessageInterruptSink {
 public:
  // Of AMD's processors of family 17h, models 00h to 0Fh; Linux looks at the class and at ACPI's table only.
  static constexpr bus::PciIdentity identity{
      .vendor = 0x1022, .device = 0x1451, .class_code = spec::pci_class::system_iommu};
  static constexpr RequesterId requester = spec::pci_requester(0, pc_map::iommu_device, 0);

  // From now on devices' accesses and interrupts go through it. Bus and chipset outlive it, and their traffic
  // does not.
  AmdIommuFunction(PcChipset& chipset, bus::SystemBus& memory);
  ~AmdIommuFunction() override;

  [[nodiscard]] const iommu::AmdIommu& iommu() const { return iommu_; }
  [[nodiscard]] std::uint32_t capability() const { return capability_; }

 private:
  void add_capability_block();
  void on_reset() override { iommu_.reset(); }
  void signal(const iommu::AmdIommuSignal& signal);

  // bus::MmioRegion
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

  // bus::MessageInterruptSink
  bool deliver(const bus::MessageInterrupt& message) override;

  PcChipset* chipset_;
  bus::SystemBus* memory_;
  iommu::AmdIommu iommu_;
  std::uint32_t capability_ = 0;
};

}  // namespace cbit::chipset
