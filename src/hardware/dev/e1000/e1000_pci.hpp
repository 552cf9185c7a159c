// dev/e1000/e1000.hpp as a function of conventional PCI: registers behind BAR 0, and by ports behind BAR 1,
// where QEMU has them; one interrupt line, no messages.
#pragma once

#include <memory>

#include "bus/pci/function.hpp"
#include "dev/e1000/e1000.hpp"

namespace cbit::dev {

class E1000Pci final : public bus::PciFunction {
 public:
  static constexpr bus::PciIdentity identity{.vendor = spec::e1000::vendor,
                                             .device = spec::e1000::device,
                                             .subsystem_vendor = spec::e1000::vendor,
                                             .subsystem = spec::e1000::device,
                                             .revision = 3,
                                             .class_code = spec::pci_class::network_ethernet};

  explicit E1000Pci(std::unique_ptr<E1000> device);

  [[nodiscard]] E1000& device() { return *device_; }

 protected:
  void on_reset() override { device_->reset(); }

 private:
  std::unique_ptr<E1000> device_;
};

}  // namespace cbit::dev
