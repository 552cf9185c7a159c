// ACPI's fixed hardware of a PC: PM1a event and control registers, the power management timer, the power
// button, and power-off. Its interrupt is the SCI (IRQ 9, level-triggered).
//
//   +0  PM1a_EVT: status, then enable, 2 bytes each
//   +4  PM1a_CNT, 2 bytes
//   +8  PM_TMR, 4 bytes
//
// Registers may be accessed in any width. The machine is always in ACPI mode: there is no SMI command, and
// SCI_EN reads as 1. There are no sleep states but S5, whose SLP_TYP is 0, as in QEMU, so that a guest
// without ACPI's language turns the machine off by 2000h. The timer's carry is computed, and on the clock
// only while its interrupt is enabled.
//
// Sources: spec/acpi_pm.hpp. Threading: one thread.
#pragma once

#include <cstdint>

#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"
#include "chipset/platform_control.hpp"
#include "spec/acpi_pm.hpp"

namespace cbit::chipset {

class AcpiPm final : public bus::PioRegion {
 public:
  static constexpr std::uint32_t port_count = 16;
  static constexpr std::uint16_t status_offset = 0;
  static constexpr std::uint16_t enable_offset = 2;
  static constexpr std::uint16_t control_offset = 4;
  static constexpr std::uint16_t timer_offset = 8;
  static constexpr unsigned s5_sleep_type = 0;

  // timer_bits: 24, or 32 (TMR_VAL_EXT in the FADT).
  AcpiPm(Clock& clock, bus::IrqLine& sci, PlatformControl& platform, unsigned timer_bits = 32);

  void reset();
  void press_power_button();

  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;
  void transfer(StateStream& s);

 private:
  [[nodiscard]] std::uint8_t read_byte(std::uint16_t offset) const;
  void write_byte(std::uint16_t offset, std::uint8_t value);
  [[nodiscard]] std::uint64_t ticks() const { return counter_.at(timer_.clock().now_ns()); }
  // How often the highest bit of the timer has changed.
  [[nodiscard]] std::uint64_t carries() const { return ticks() >> (timer_bits_ - 1); }
  void catch_up();
  void update();
  void sleep();

  bus::IrqDriver sci_;
  PlatformControl* platform_;
  unsigned timer_bits_;
  TickCounter counter_{spec::acpi_pm_timer_hz};
  spec::AcpiPm1Status status_{};
  spec::AcpiPm1Enable enable_{};
  spec::AcpiPm1Control control_{};
  std::uint64_t carries_seen_ = 0;
  Timer timer_;
};

}  // namespace cbit::chipset
