// Ports by which tests that run in a guest exercise the chipset and port I/O, as QEMU's pc-testdev has them.
//
//   E0h to E3h      four bytes of memory, in any width
//   2000h to 2017h  one byte per interrupt line: what is written, 0 or not, is its level
//
// Its 64 KiB of memory behind MMIO are a bus::RamBar. Nobody answers at E4h, where QEMU drops mappings of the
// host's, nor at E8h, its second way to the four bytes: E9h is the debug console. Source: QEMU,
// hw/misc/pc-testdev.c. Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>

#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"

namespace cbit::chipset {

class TestData final : public bus::PioRegion {
 public:
  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;
  void transfer(StateStream& s) { s(data_); }

 private:
  std::uint32_t data_ = 0;
};

class TestIrqs final : public bus::PioRegion {
 public:
  // One line per port.
  template <class Lines>
  explicit TestIrqs(Lines& lines) {
    for (bus::IrqLine& line : lines) drivers_.emplace_back(line, "test");
  }
  void reset();
  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;
  void transfer(StateStream& s) { s.same_size(drivers_); }

 private:
  std::deque<bus::IrqDriver> drivers_;
};

}  // namespace cbit::chipset
