#include "os/poll_set.hpp"

#include <time.h>

#include <algorithm>

namespace cbit::os {

std::size_t PollSet::add(int fd, short events) {
  ends_.push_back({.fd = fd, .events = events, .revents = 0});
  return ends_.size() - 1;
}

void PollSet::limit(std::chrono::nanoseconds most) {
  most_ = std::clamp(most, std::chrono::nanoseconds{0}, most_);
}

void PollSet::wait() {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(most_);
  const timespec time{.tv_sec = seconds.count(), .tv_nsec = (most_ - seconds).count()};
  if (ppoll(ends_.data(), ends_.size(), &time, nullptr) < 0)
    for (pollfd& end : ends_) end.revents = 0;
}

}  // namespace cbit::os
