#include "dev/display/bochs_display_pci.hpp"

#include <utility>

namespace cbit::dev {

BochsDisplayPci::BochsDisplayPci(std::unique_ptr<BochsDisplay> device)
    : PciFunction{identity, nullptr}, device_{std::move(device)} {
  add_memory_bar(0, device_->vram().size(), device_->vram(), bus::PciMemoryBar::bits_32);
  add_memory_bar(2, spec::bochs_display::register_bytes, *device_, bus::PciMemoryBar::bits_32);
}

}  // namespace cbit::dev
