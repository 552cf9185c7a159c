// The QEMU of this machine: its version, and starting it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "launch/rules.hpp"

namespace cbit::launch {

// "7.2", or what `qemu-system-x86_64 -version` prints.
[[nodiscard]] std::optional<QemuVersion> parse_qemu_version(std::string_view text);
// Errors (usage): it is no version.
[[nodiscard]] OrError<QemuVersion> qemu_version_of(std::string_view text);

// Asks the program. Errors (input): it is not there, cannot be started, does not end within seconds, or
// answers something else.
[[nodiscard]] OrError<QemuVersion> ask_qemu_version(const std::string& program);

// What is known of a message that QEMU ended with.
struct QemuFailure {
  std::string_view message;  // a part of QEMU's line that does not depend on names and numbers
  std::string_view cause;
  std::string_view remedy;
};
[[nodiscard]] std::span<const QemuFailure> qemu_failures();
// The first known one among the lines; nullptr: none.
[[nodiscard]] const QemuFailure* find_qemu_failure(std::string_view lines);

struct QemuEnd {
  int status = 0;      // as a shell has it: 128 + n after signal n
  std::string errors;  // the last lines that it wrote to stderr
};

// Starts the guest with this process' terminal and waits for its end. What QEMU writes to stderr passes
// through, as safe_text(). Interrupts from the terminal are the guest's; SIGTERM and SIGHUP are passed on.
// Errors (input): the program cannot be started.
[[nodiscard]] OrError<QemuEnd> run_qemu(const std::vector<std::string>& words);

}  // namespace cbit::launch
