// What the files of the stub share: replies, and how packets are taken apart.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace cbit::gdb {

// errno's numbers, as QEMU's stub answers (gdbstub/gdbstub.c): EINVAL, EFAULT.
inline const std::string error_invalid = "E22";
inline const std::string error_fault = "E14";
inline const std::string reply_ok = "OK";

// QEMU, include/hw/core/cpu.h: SSTEP_ENABLE and SSTEP_NOIRQ. Its SSTEP_NOTIMER there is not: an instruction
// takes its time here.
inline constexpr unsigned step_enabled = 1;
inline constexpr unsigned step_without_interrupts = 2;
inline constexpr unsigned default_step_mode = step_enabled | step_without_interrupts;

// Before the first such character, and behind it.
[[nodiscard]] inline std::pair<std::string_view, std::string_view> split_at(std::string_view text, char c) {
  const std::size_t at = text.find(c);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

[[nodiscard]] inline std::string thread_name(std::size_t processor) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string name;
  for (std::size_t number = processor + 1; number != 0; number /= 16)
    name.insert(name.begin(), digits[number % 16]);
  return name;
}

}  // namespace cbit::gdb
