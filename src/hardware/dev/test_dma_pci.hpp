// The test DMA device as a PCI function: registers and local memory in BAR 0, one MSI or INTA#, function
// level reset. docs/test-device.md describes it for authors of drivers. Threading: one thread.
#pragma once

#include <memory>

#include "bus/pci/function.hpp"
#include "dev/test_dma.hpp"

namespace cbit::dev {

class TestDmaPci final : public bus::PciFunction {
 public:
  // The vendor's number is nobody's; QEMU's test devices have it, too.
  static constexpr bus::PciIdentity identity{.vendor = 0x1234,
                                             .device = 0xcb17,
                                             .subsystem_vendor = 0x1234,
                                             .subsystem = 0xcb17,
                                             .revision = 1,
                                             .class_code = spec::pci_class::other};

  explicit TestDmaPci(std::unique_ptr<TestDma> device);

  [[nodiscard]] TestDma& device() { return *device_; }

 protected:
  void on_reset() override { device_->reset(); }
  void transfer_device(StateStream& s) override { s(*device_); }

 private:
  std::unique_ptr<TestDma> device_;
};

}  // namespace cbit::dev
