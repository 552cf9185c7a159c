#include "bus/pci/pci_bus.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/format.hpp"

namespace cbit::bus {

PciBus::~PciBus() {
  for (PciFunction* const function : devices_)
    if (function != nullptr) function->detach();
}

void PciBus::plug(unsigned device, PciFunction& function) {
  CBIT_ASSERT(device < devices_.size() && devices_[device] == nullptr);
  CBIT_ASSERT(function.port() == nullptr ||
              function.port()->config().requester == spec::pci_requester(0, device, 0));
  devices_[device] = &function;
  function.attach(*this, board_.interrupt_line(device));
}

void PciBus::unplug(PciFunction& function) {
  const auto found = std::ranges::find(devices_, &function);
  if (found == devices_.end()) return;
  *found = nullptr;
  function.detach();
}

PciFunction* PciBus::find(RequesterId at, std::uint32_t offset, std::size_t bytes) const {
  const unsigned device = spec::pci_device_of(at);
  if (at != spec::pci_requester(0, device, 0)) return nullptr;
  if (offset > spec::pci_extended_config_bytes || bytes > spec::pci_extended_config_bytes - offset)
    return nullptr;
  return devices_[device];
}

void PciBus::read_config(RequesterId at, std::uint32_t offset, ByteSpan to) {
  if (PciFunction* const function = find(at, offset, to.size())) return function->read_config(offset, to);
  std::ranges::fill(to, std::byte{0xff});
}

void PciBus::write_config(RequesterId at, std::uint32_t offset, ConstByteSpan from) {
  if (PciFunction* const function = find(at, offset, from.size())) function->write_config(offset, from);
}

void PciBus::reset() {
  for (PciFunction* const function : devices_)
    if (function != nullptr) function->reset();
}

void PciBus::decode(PciFunction& function) {
  if (!function.release_bars(false)) return function.claim_bars();
  function.claim_bars();
  for (PciFunction* const other : devices_)
    if (other != nullptr) other->claim_bars();
}

void PciBus::transfer(StateStream& s) {
  for (unsigned number = 0; number < devices_.size(); ++number) {
    bool there = devices_[number] != nullptr;
    s(there);
    s.require(there == (devices_[number] != nullptr), "other devices are plugged in");
    if (there && s.good()) s.section(fmt::format("PCI device {}", number), [&] { s(*devices_[number]); });
  }
}

}  // namespace cbit::bus
