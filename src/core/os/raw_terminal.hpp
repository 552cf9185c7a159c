// A terminal that hands over each key as it is typed: none is shown, put into lines or made a signal. What is
// written to it is treated as before, so that a line feed still begins a line.
//
// It is as it was at the end of the object's life, also when a signal ends, stops or crashes the program
// (os/cleanup.hpp). A job in the background is stopped until it has the terminal, as by any access to it.
//
// Settings: cfmakeraw() of termios(3), with output processing left on, as QEMU has them for -nographic
// (chardev/char-stdio.c).
// Threading: one thread.
#pragma once

#include <optional>
#include <utility>

#include "os/cleanup.hpp"

namespace cbit::os {

class RawTerminal {
 public:
  // `fd` stays open for as long as it lives. nullopt: it is no terminal.
  static std::optional<RawTerminal> take(int fd);
  RawTerminal(RawTerminal&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)}, before_{other.before_}, cleanup_{std::move(other.cleanup_)} {}
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

 private:
  RawTerminal(int fd, const termios& before) : fd_{fd}, before_{before} {}

  int fd_;
  termios before_;
  Cleanup cleanup_;
};

}  // namespace cbit::os
