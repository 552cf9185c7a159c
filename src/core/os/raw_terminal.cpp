#include "os/raw_terminal.hpp"

namespace cbit::os {

std::optional<RawTerminal> RawTerminal::take(int fd) {
  termios before{};
  if (::tcgetattr(fd, &before) != 0) return std::nullopt;
  termios during = before;
  ::cfmakeraw(&during);
  during.c_oflag = before.c_oflag | OPOST;
  // Not set_terminal(): a job in the background waits here.
  if (::tcsetattr(fd, TCSANOW, &before) != 0) return std::nullopt;
  const SignalsHeld held;
  RawTerminal terminal{fd, before};
  terminal.cleanup_ = Cleanup::terminal(fd, before, during);
  set_terminal(fd, during);
  return terminal;
}

RawTerminal::~RawTerminal() {
  if (fd_ < 0) return;
  const SignalsHeld held;
  set_terminal(fd_, before_);
  cleanup_.forget();
}

}  // namespace cbit::os
