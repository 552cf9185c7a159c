#include "dev/nvme/nvme_pci.hpp"

#include <utility>

namespace cbit::dev {

NvmePci::NvmePci(std::unique_ptr<Nvme> controller)
    : PciFunction{identity, &controller->port()}, controller_{std::move(controller)} {
  add_memory_bar(register_bar, controller_->region_bytes(), *controller_, bus::PciMemoryBar::bits_64);
  add_intx();
  add_express();
  add_power_management();
  add_msix(controller_->vectors(), msix_bar);
  controller_->on_interrupt({.message = [this](std::uint16_t vector) { interrupt(vector); },
                             .pin = [this](bool asserted) { set_intx(asserted); }});
}

}  // namespace cbit::dev
