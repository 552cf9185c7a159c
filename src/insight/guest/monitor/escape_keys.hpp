// Keys at a console that are not the guest's: Ctrl-A, and one more.
//
// QEMU's, of its multiplexer with -nographic (chardev/char-mux.c): h or ? for help, x to end, c to change
// between console and monitor, Ctrl-A for itself; other keys behind it are swallowed. a is Ctrl-A here, too,
// as in screen(1). What QEMU's s, t and b do, there is not. Threading: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cbit::guest {

enum class EscapeKey : std::uint8_t { none, help, end, change };

class EscapeKeys {
 public:
  struct Meaning {
    std::optional<char> typed;  // for whoever has the console
    EscapeKey key = EscapeKey::none;
  };
  Meaning take(char c) {
    if (!escaped_) {
      escaped_ = c == escape;
      return {escaped_ ? std::nullopt : std::optional{c}, EscapeKey::none};
    }
    escaped_ = false;
    switch (c) {
      case escape:
      case 'a': return {escape, EscapeKey::none};
      case 'h':
      case '?': return {std::nullopt, EscapeKey::help};
      case 'x': return {std::nullopt, EscapeKey::end};
      case 'c': return {std::nullopt, EscapeKey::change};
      default: return {};
    }
  }

  static constexpr char escape = '\x01';

 private:
  bool escaped_ = false;
};

inline constexpr std::string_view escape_keys_help =
    "Ctrl-A h  this help\n"
    "Ctrl-A x  end the run\n"
    "Ctrl-A c  change between the guest's console and the monitor\n"
    "Ctrl-A a  send Ctrl-A, as Ctrl-A Ctrl-A does\n";

}  // namespace cbit::guest
