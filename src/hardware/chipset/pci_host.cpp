#include "chipset/pci_host.hpp"

#include <array>

#include "base/state_stream.hpp"
#include "bus/pci/firmware.hpp"
#include "chipset/pc_map.hpp"

namespace cbit::chipset {
namespace {

RequesterId function_of(spec::PciConfigAddress address) {
  using Address = spec::PciConfigAddress;
  return spec::pci_requester(address.get<Address::Bus>(), address.get<Address::Device>(),
                             address.get<Address::Function>());
}

std::uint32_t register_of(spec::PciConfigAddress address) {
  return address.get<spec::PciConfigAddress::RegisterNumber>() * 4;
}

RequesterId function_at(std::uint64_t ecam_offset) {
  using Offset = spec::PciEcamOffset;
  const Offset offset{{ecam_offset}};
  return spec::pci_requester(offset.get<Offset::Bus>(), offset.get<Offset::Device>(),
                             offset.get<Offset::Function>());
}

std::uint32_t register_at(std::uint64_t ecam_offset) {
  return spec::PciEcamOffset{{ecam_offset}}.get<spec::PciEcamOffset::Offset>();
}

constexpr mem::PhysRange ecam_range{pc_map::ecam_base, pc_map::ecam_bytes};

}  // namespace

PciHost::PciHost(PcChipset& chipset, bus::SystemBus& memory, bus::PortSpace& ports)
    : memory_{&memory},
      ports_{&ports},
      bus_{{memory, ports, chipset.messages(),
            [&chipset](unsigned device) -> bus::IrqLine& { return chipset.irq(pc_map::pci_irq(device)); }}} {
  bus_.plug(0, bridge_);
  memory.add_mmio(ecam_range, ecam_);
  ports.add(pc_map::pci_address_port, address_, bus::dword_ports);
  ports.add(pc_map::pci_data_port, data_, bus::ports_of_any_width);
}

PciHost::~PciHost() {
  memory_->remove_mmio(ecam_range, ecam_);
  ports_->remove(pc_map::pci_address_port, address_);
  ports_->remove(pc_map::pci_data_port, data_);
}

void PciHost::assign_resources() {
  bus::assign_pci_resources(bus_, {{pc_map::pci_memory_base, pc_map::pci_memory_bytes}, pc_map::pci_ports});
}

void PciHost::reset() {
  address_.reset();
  bus_.reset();
}

std::uint32_t PciHost::Data::read(std::uint16_t offset, unsigned bytes) {
  const spec::PciConfigAddress address = address_->value();
  std::array<std::byte, 4> raw{};
  raw.fill(std::byte{0xff});
  if (address.get<spec::PciConfigAddress::Enable>())
    bus_->read_config(function_of(address), register_of(address) + offset, ByteSpan{raw}.first(bytes));
  return load<std::uint32_t>(raw);
}

void PciHost::Data::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  const spec::PciConfigAddress address = address_->value();
  if (!address.get<spec::PciConfigAddress::Enable>()) return;
  bus_->write_config(function_of(address), register_of(address) + offset, bytes_of(value).first(bytes));
}

Result<void> PciHost::Ecam::read(std::uint64_t offset, ByteSpan to) {
  bus_->read_config(function_at(offset), register_at(offset), to);
  return {};
}

Result<void> PciHost::Ecam::write(std::uint64_t offset, ConstByteSpan from) {
  if (from.size() <= sizeof(std::uint64_t))
    bus_->write_config(function_at(offset), register_at(offset), from);
  return {};
}

void PciHost::transfer(StateStream& s) {
  s.section("pci", [&] { s(address_, bus_); });
}

}  // namespace cbit::chipset
