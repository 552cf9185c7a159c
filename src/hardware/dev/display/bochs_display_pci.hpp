// dev/display/bochs_display.hpp as a PCI function, with QEMU's numbers: video memory behind BAR 0, registers
// behind BAR 2.
#pragma once

#include <memory>

#include "bus/pci/function.hpp"
#include "dev/display/bochs_display.hpp"

namespace cbit::dev {

class BochsDisplayPci final : public bus::PciFunction, public Display {
 public:
  static constexpr bus::PciIdentity identity{.vendor = spec::bochs_display::vendor,
                                             .device = spec::bochs_display::device,
                                             .subsystem_vendor = spec::bochs_display::subsystem_vendor,
                                             .subsystem = spec::bochs_display::subsystem,
                                             .revision = spec::bochs_display::revision,
                                             .class_code = spec::pci_class::display_other};

  explicit BochsDisplayPci(std::unique_ptr<BochsDisplay> device);

  [[nodiscard]] BochsDisplay& device() { return *device_; }
  [[nodiscard]] std::optional<Picture> picture() const override { return device_->picture(); }

 protected:
  void on_reset() override { device_->reset(); }

 private:
  std::unique_ptr<BochsDisplay> device_;
};

}  // namespace cbit::dev
