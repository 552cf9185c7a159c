#include "dev/e1000/e1000_pci.hpp"

#include <utility>

namespace cbit::dev {
namespace {

constexpr std::uint32_t ports = 64;

}  // namespace

E1000Pci::E1000Pci(std::unique_ptr<E1000> device)
    : PciFunction{identity, &device->port()}, device_{std::move(device)} {
  add_memory_bar(0, spec::e1000::memory_bytes, *device_, bus::PciMemoryBar::bits_32);
  add_io_bar(1, ports, device_->ports());
  add_intx();
  device_->on_interrupt([this](bool wanted) { set_intx(wanted); });
}

}  // namespace cbit::dev
