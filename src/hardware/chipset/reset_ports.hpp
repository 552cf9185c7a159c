// Two ports that reset a PC.
//
//   CF9h  reset control (the FADT's RESET_REG, value 6): a rising RST_CPU resets; the platform with SYS_RST,
//         else the processors. Byte accesses only: the port lies within PCI's configuration address.
//   92h   system control port A: a rising bit 0 resets the processors; bit 1 is the gate of address line 20,
//         which is kept but masks nothing
//
// Source: Intel ICH9 datasheet (316972), 13.7. Threading: one thread.
#pragma once

#include <cstdint>

#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "bus/port_io.hpp"
#include "chipset/platform_control.hpp"

namespace cbit::chipset {

class ResetControl final : public bus::PioRegion {
 public:
  struct Bits : Register<Bits, std::uint8_t> {
    using FullReset = Field<3, 3, bool>;
    using ResetCpu = Field<2, 2, bool>;
    using SystemReset = Field<1, 1, bool>;
  };
  static constexpr std::uint8_t platform_reset_value = 0x06;

  explicit ResetControl(PlatformControl& platform) : platform_{&platform} {}
  void reset() { bits_ = {}; }
  void transfer(StateStream& s) { s(bits_); }
  std::uint32_t read(std::uint16_t, unsigned) override { return bits_.raw; }
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

 private:
  PlatformControl* platform_;
  Bits bits_{};
};

class PortA final : public bus::PioRegion {
 public:
  struct Bits : Register<Bits, std::uint8_t> {
    using A20 = Field<1, 1, bool>;
    using ResetCpu = Field<0, 0, bool>;
  };

  explicit PortA(PlatformControl& platform) : platform_{&platform} { reset(); }
  // The gate is open, as firmware leaves it.
  void reset() { bits_ = Bits{}.with<Bits::A20>(true); }
  void transfer(StateStream& s) { s(bits_); }
  std::uint32_t read(std::uint16_t, unsigned) override { return bits_.raw; }
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

 private:
  PlatformControl* platform_;
  Bits bits_{};
};

static_assert(
    ResetControl::Bits{{ResetControl::platform_reset_value}}.get<ResetControl::Bits::SystemReset>());

}  // namespace cbit::chipset
