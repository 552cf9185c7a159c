// One line of a kernel log: what was put before the message is taken off, and the message is scanned.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cbit::watch {

// Takes words and numbers off the front of a text.
class LogScanner {
 public:
  explicit LogScanner(std::string_view text) : rest_{text} {}

  [[nodiscard]] std::string_view rest() const { return rest_; }
  // Goes behind the next occurrence; stays where it is if there is none.
  bool past(std::string_view words);
  bool skip(std::string_view words);
  // Decimal, or hexadecimal behind 0x. nullopt, and no move: no number, or one beyond 64 bits.
  std::optional<std::uint64_t> number();
  std::optional<std::uint64_t> hex();  // without 0x, or with it
  // Up to the next blank or any of the stops.
  std::string_view word(std::string_view stops = {});

 private:
  std::string_view rest_;
};

struct Message {
  std::optional<std::uint64_t> time_us;
  std::string_view text;
};

// Takes off what dmesg, /dev/kmsg, journalctl and syslog put before a message.
[[nodiscard]] Message strip_stamps(std::string_view line);

}  // namespace cbit::watch
