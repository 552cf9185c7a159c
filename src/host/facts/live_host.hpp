// What the running system tells without a file: its CPUID instruction, its devices, its kernel's log.
#pragma once

#include "facts/host_tree.hpp"

namespace cbit::facts {

// nullopt: the leaf is beyond the last one, or this is no x86.
[[nodiscard]] std::optional<CpuidRegs> live_cpuid(std::uint32_t leaf, std::uint32_t subleaf);
// Opens the device for reading and writing, and closes it.
[[nodiscard]] DeviceState live_device(const std::string& path);
// Through msr_device.
[[nodiscard]] Read<std::uint64_t> live_msr(std::uint32_t index);
// /dev/kmsg, or syslog(2) where that cannot be opened.
[[nodiscard]] Read<std::string> live_kernel_log();

}  // namespace cbit::facts
