// ACPI's fixed hardware: the power management registers. Advanced Configuration and Power Interface
// Specification 6.4, 4.8.3; ACPI_BITMASK_* in Linux's include/acpi/actypes.h.
#pragma once

#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec {

// 4.8.3.1.1. Written ones clear.
struct AcpiPm1Status : Register<AcpiPm1Status, std::uint16_t> {
  using Wake = Field<15, 15, bool>;
  using PcieWake = Field<14, 14, bool>;
  using Rtc = Field<10, 10, bool>;
  using SleepButton = Field<9, 9, bool>;
  using PowerButton = Field<8, 8, bool>;
  using Global = Field<5, 5, bool>;
  using BusMaster = Field<4, 4, bool>;
  using Timer = Field<0, 0, bool>;
};
// 4.8.3.1.2.
struct AcpiPm1Enable : Register<AcpiPm1Enable, std::uint16_t> {
  using PcieWakeOff = Field<14, 14, bool>;
  using Rtc = Field<10, 10, bool>;
  using SleepButton = Field<9, 9, bool>;
  using PowerButton = Field<8, 8, bool>;
  using Global = Field<5, 5, bool>;
  using Timer = Field<0, 0, bool>;
};
// 4.8.3.2.1.
struct AcpiPm1Control : Register<AcpiPm1Control, std::uint16_t> {
  using SleepEnable = Field<13, 13, bool>;  // write-only
  using SleepType = Field<12, 10, unsigned>;
  using GlobalRelease = Field<2, 2, bool>;  // write-only
  using BusMasterReload = Field<1, 1, bool>;
  using SciEnable = Field<0, 0, bool>;
};
static_assert(AcpiPm1Control{{0x2000}}.get<AcpiPm1Control::SleepEnable>());

// 4.8.3.3.
inline constexpr std::uint64_t acpi_pm_timer_hz = 3'579'545;

}  // namespace cbit::spec
