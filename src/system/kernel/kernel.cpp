#include "kernel/kernel.hpp"

#include <fmt/format.h>

#include "spec/swiotlb.hpp"

namespace cbit::kernel {
namespace {

OrError<void> check(const machine::Machine& machine, const DmaConfig& config) {
  if (config.iommu != IommuMode::none && !machine.config().iommu)
    return usage_error("an IOMMU mode is chosen, but the machine has no IOMMU",
                       "give the machine an IOMMU (--iommu), or choose the mode none");
  if (config.swiotlb.dynamic && !spec::has_dynamic_swiotlb(config.version))
    return usage_error(fmt::format("Linux {} has no dynamic SWIOTLB", to_string(config.version)),
                       "use kernel 6.6 or later, or leave dynamic off");
  return {};
}

tl::unexpected<Error> boot_error(std::string_view what, const Fault& fault) {
  return bad_input(
      fmt::format("the kernel cannot boot: {}: {} at {:#x}", what, to_string(fault.kind), fault.address),
      "give the machine more memory");
}

// The name of a function on bus 0, as in /sys/bus/pci/devices.
std::string pci_name(RequesterId requester) {
  return fmt::format("0000:{:02x}:{:02x}.{}", requester >> 8, requester >> 3 & 0x1f, requester & 7);
}

}  // namespace

Kernel::Kernel(machine::Machine& machine, KernelVersion version)
    : machine_{&machine}, cc_{machine.config().platform, machine.paging().view.layout, version} {}

OrError<std::unique_ptr<Kernel>> Kernel::boot(machine::Machine& machine, const DmaConfig& config) {
  CBIT_TRY(check(machine, config));
  std::unique_ptr<Kernel> kernel{new Kernel{machine, config.version}};
  auto mm = Mm::create(machine, kernel->cc_, config.version);
  if (!mm) return boot_error("memory management", mm.error());
  kernel->mm_ = std::move(*mm);
  auto dma = Dma::create(*kernel->mm_, kernel->cc_, config);
  if (!dma) return boot_error("the DMA layer", dma.error());
  kernel->dma_ = std::move(*dma);
  return kernel;
}

Device& Kernel::add_device(Device device) {
  if (device.requester == 0) {
    device.requester = next_requester_;
    next_requester_ = static_cast<RequesterId>(next_requester_ + 8);
  }
  if (device.name.empty()) device.name = pci_name(device.requester);
  machine_->bus().add_requester(device.requester);
  Device& added = devices_.emplace_back(std::move(device));
  if (!dma_->configure(added))
    machine_->tracer().emit(
        mm_->cpu(0).agent(),
        KernelMessage{
            fmt::format("Failed to set up IOMMU for device {}; retaining platform DMA ops", added.name)});
  return added;
}

}  // namespace cbit::kernel
