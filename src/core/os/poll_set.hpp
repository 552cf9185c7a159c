// What one waits for: descriptors, and a time. poll(2).
//
// Threading: one thread.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <vector>

namespace cbit::os {

class PollSet {
 public:
  // `events` as in struct pollfd. Returns the number under which came() tells of it.
  std::size_t add(int fd, short events);
  // wait() takes no longer than this; at first a second.
  void limit(std::chrono::nanoseconds most);

  // Returns when something came, when the time is over, or at a signal.
  void wait();
  // What came, `revents`; nothing where wait() was not called.
  [[nodiscard]] short came(std::size_t number) const { return ends_[number].revents; }

 private:
  std::vector<pollfd> ends_;
  std::chrono::nanoseconds most_ = std::chrono::seconds{1};
};

}  // namespace cbit::os
