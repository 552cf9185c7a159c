#include "cli/keyboard.hpp"

#include <poll.h>
#include <unistd.h>

namespace cbit::cli {

void Keyboard::fill() {
  if (ended_ || begin_ != end_) return;
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, 0) <= 0) return;
  const ssize_t count = read(STDIN_FILENO, buffer_.data(), buffer_.size());
  ended_ = count <= 0;
  begin_ = 0;
  end_ = ended_ ? 0 : static_cast<std::size_t>(count);
}

std::optional<std::byte> Keyboard::next() {
  fill();
  if (begin_ == end_) return std::nullopt;
  return buffer_[begin_++];
}

void Keyboard::await(os::PollSet& set) const {
  if (begin_ != end_) set.limit(std::chrono::nanoseconds{0});
  if (!ended_) set.add(STDIN_FILENO, POLLIN);
}

}  // namespace cbit::cli
