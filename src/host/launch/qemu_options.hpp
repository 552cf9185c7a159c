// The options that QEMU's x86 system emulators know, from 4.2 to 10, and how each takes its argument.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cbit::launch {

enum class QemuArgument : std::uint8_t {
  none,
  text,        // taken as it is
  properties,  // key=value,...; a doubled comma stands for one
  json,        // the same, or a JSON object
  cpu,         // model,+feature,-feature,feature=value
  global,      // driver.property=value, or properties
};

struct QemuOptionSpec {
  std::string_view name;
  QemuArgument argument = QemuArgument::none;
  std::string_view implied_key;  // of a first property without a key; empty: there is none
};

[[nodiscard]] std::span<const QemuOptionSpec> qemu_option_specs();
// nullptr: QEMU does not know it.
[[nodiscard]] const QemuOptionSpec* find_qemu_option(std::string_view name);
// Options with a similar name, for a message: "-device, -drive"; empty if there are none.
[[nodiscard]] std::string similar_qemu_options(std::string_view name);

}  // namespace cbit::launch
