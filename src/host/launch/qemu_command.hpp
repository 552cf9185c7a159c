// A QEMU command line taken apart, and put together again.
//
// QEMU splits `-device virtio-blk-pci,drive=d0,bootindex=1` into the option `device` and properties in
// order; a first property without a key gets the option's implied key (`driver` for -device, `qom-type` for
// -object, `type` for -machine, ...). A doubled comma stands for one comma. -device and -object also take
// JSON, whose members become properties (nested ones with dots, as QEMU's keyval parser names them). -M is
// `machine`, and a word that belongs to no option is `hda`, as it is for QEMU.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit::launch {

struct QemuProperty {
  std::string key;
  std::string value;
  friend bool operator==(const QemuProperty&, const QemuProperty&) = default;
};

struct QemuOption {
  std::string name;  // "device": without dashes
  std::vector<QemuProperty>
      properties;    // none: a flag such as -nographic, or one whose argument is in `text`
  std::string text;  // the argument of an option that has no properties, such as -append

  // The value of the last property of that key, which is the one that counts.
  [[nodiscard]] std::optional<std::string_view> value(std::string_view key) const;
  friend bool operator==(const QemuOption&, const QemuOption&) = default;
};

struct QemuCommand {
  std::string program;  // "qemu-system-x86_64", or a path of it
  std::vector<QemuOption> options;

  [[nodiscard]] const QemuOption* last(std::string_view option) const;
  [[nodiscard]] std::vector<const QemuOption*> all(std::string_view option) const;
  // For options whose repetitions QEMU merges (-machine, -m, -smp, ...): the last value of that key in any.
  [[nodiscard]] std::optional<std::string_view> value(std::string_view option, std::string_view key) const;
  friend bool operator==(const QemuCommand&, const QemuCommand&) = default;
};

// The words of a POSIX shell's simple command: quotes, backslashes, line continuations, comments. Expansions
// ($X, `x`, *, ~) are refused, because only the shell knows them. Errors (input) give the column.
[[nodiscard]] OrError<std::vector<std::string>> shell_words(std::string_view text);

// What stands before QEMU's name (sudo, A=B, numactl ...) is left out.
// Errors (input): no QEMU, or not one for x86; an option that QEMU 4.2 to 10 does not know; one whose
// argument is missing; malformed JSON.
[[nodiscard]] OrError<QemuCommand> parse_qemu_command(std::span<const std::string> words);

// parse_qemu_command() makes the same command of them again, whatever is in its values; only those of -cpu
// must be free of commas, which have no spelling there.
[[nodiscard]] std::vector<std::string> to_words(const QemuCommand& command);
[[nodiscard]] std::vector<std::string> to_words(const QemuOption& option);

// What a shell takes apart into the same words; one option a line where `lines`.
[[nodiscard]] std::string to_shell(const QemuCommand& command, bool lines);
[[nodiscard]] std::string to_shell(std::span<const std::string> words);

}  // namespace cbit::launch
