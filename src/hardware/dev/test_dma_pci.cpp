#include "dev/test_dma_pci.hpp"

#include <utility>

namespace cbit::dev {

TestDmaPci::TestDmaPci(std::unique_ptr<TestDma> device)
    : PciFunction{identity, &device->port()}, device_{std::move(device)} {
  add_memory_bar(0, TestDma::region_bytes, *device_, bus::PciMemoryBar::bits_32);
  add_intx();
  add_express();
  add_power_management();
  add_msi(1);
  device_->on_interrupt([this](bool wanted) {
    set_intx(wanted);
    if (wanted) interrupt(0);
  });
}

}  // namespace cbit::dev
