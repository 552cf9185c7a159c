// A PCI bus on a small machine, without processors: what a driver does to configuration space, memory and
// ports, and what arrives as messages and on the lines.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <vector>

#include "bus/message_interrupt.hpp"
#include "bus/pci/firmware.hpp"
#include "bus/pci/pci_bus.hpp"
#include "support/small_machine.hpp"

namespace cbit::test {

class RecordingMessages final : public bus::MessageInterruptSink {
 public:
  bool deliver(const bus::MessageInterrupt& message) override {
    seen.push_back(message);
    return true;
  }
  std::vector<bus::MessageInterrupt> seen;
};

struct PciBoard : SmallMachine {
  static constexpr PhysAddr window{0xc000'0000};

  explicit PciBoard(Encryption encryption = Encryption::none, mem::MemoryConfig config = {})
      : SmallMachine{encryption, std::move(config)} {
    for (unsigned n = 0; n < spec::pci_devices; ++n)
      lines.emplace_back("line " + std::to_string(n), bus::ActiveLevel::low);
  }

  void assign_resources() { bus::assign_pci_resources(pci, {{window, 256ull << 20}, {0x6000, 0x1000}}); }

  template <class T>
  [[nodiscard]] T config(unsigned device, std::uint32_t offset) {
    std::array<std::byte, sizeof(T)> raw{};
    pci.read_config(spec::pci_requester(0, device, 0), offset, raw);
    return load<T>(raw);
  }
  template <class T>
  void set_config(unsigned device, std::uint32_t offset, T value) {
    pci.write_config(spec::pci_requester(0, device, 0), offset, bytes_of(value));
  }
  void set_command(unsigned device, std::uint16_t value) {
    set_config(device, spec::pci_register::command, value);
  }
  void enable_bus_master(unsigned device) {
    const auto command = config<std::uint16_t>(device, spec::pci_register::command);
    set_command(device, static_cast<std::uint16_t>(command | 4u));
  }
  [[nodiscard]] std::uint64_t bar(unsigned device, unsigned number) {
    const std::uint32_t at = spec::pci_register::base_address + 4 * number;
    const auto low = config<std::uint32_t>(device, at);
    std::uint64_t address = low & ((low & 1) != 0 ? ~3u : ~0xfu);
    if ((low & 7) == 4) address |= std::uint64_t{config<std::uint32_t>(device, at + 4)} << 32;
    return address;
  }
  // Where the n-th capability of that ID is, 0: there is none.
  [[nodiscard]] std::uint32_t capability(unsigned device, std::uint8_t id, unsigned n = 0) {
    std::uint32_t at = config<std::uint8_t>(device, spec::pci_register::capabilities);
    for (; at != 0; at = config<std::uint8_t>(device, at + 1))
      if (config<std::uint8_t>(device, at) == id && n-- == 0) return at;
    return 0;
  }

  // A processor's access, with its key bits off. What nobody answers reads as ones.
  template <class T>
  [[nodiscard]] T read(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> raw{};
    if (!bus.io_read(PhysAddr{at}, raw)) raw.fill(std::byte{0xff});
    return load<T>(raw);
  }
  template <class T>
  void write(std::uint64_t at, T value) {
    static_cast<void>(bus.io_write(PhysAddr{at}, bytes_of(value)));
  }
  [[nodiscard]] bool answers(std::uint64_t at) const { return bus.find_mmio(PhysAddr{at}).region != nullptr; }

  bus::SystemBus bus{*memory, tracer, device_view};
  bus::PortSpace ports;
  RecordingMessages messages;
  std::deque<bus::IrqLine> lines;
  bus::PciBus pci{{bus, ports, messages, [this](unsigned device) -> bus::IrqLine& { return lines[device]; }}};
};

}  // namespace cbit::test
