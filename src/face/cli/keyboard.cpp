#include "cli/keyboard.hpp"

#include <poll.h>
#include <unistd.h>

#include <thread>

namespace cbit::cli {

void Keyboard::fill(int timeout_ms) {
  if (ended_ || begin_ != end_) return;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, timeout_ms) <= 0) return;
  const ssize_t count = read(STDIN_FILENO, buffer_.data(), buffer_.size());
  ended_ = count <= 0;
  begin_ = 0;
  end_ = ended_ ? 0 : static_cast<std::size_t>(count);
}

std::optional<std::byte> Keyboard::next() {
  fill(0);
  if (begin_ == end_) return std::nullopt;
  return buffer_[begin_++];
}

void Keyboard::wait(std::chrono::nanoseconds most) {
  if (ended_)
    std::this_thread::sleep_for(most);
  else
    fill(static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(most).count()));
}

}  // namespace cbit::cli
