// The NVMe controller as a PCI function: registers in BAR 0, MSI-X with a vector per completion queue or
// INTA#, function level reset. Threading: one thread.
#pragma once

#include <memory>

#include "bus/pci/function.hpp"
#include "dev/nvme/controller.hpp"

namespace cbit::dev {

class NvmePci final : public bus::PciFunction {
 public:
  static constexpr bus::PciIdentity identity{.vendor = nvme_pci_vendor,
                                             .device = nvme_pci_device,
                                             .subsystem_vendor = nvme_pci_vendor,
                                             .subsystem = nvme_pci_device,
                                             .revision = 1,
                                             .class_code = spec::pci_class::mass_storage_nvme};
  static constexpr unsigned register_bar = 0;
  static constexpr unsigned msix_bar = 4;

  explicit NvmePci(std::unique_ptr<Nvme> controller);

  [[nodiscard]] Nvme& controller() { return *controller_; }

 protected:
  void on_reset() override { controller_->reset(); }
  void transfer_device(StateStream& s) override { s(*controller_); }

 private:
  std::unique_ptr<Nvme> controller_;
};

}  // namespace cbit::dev
