// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

namespace cbit::os {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_{fd} {}  // as open() returns it; -1: none
  Descriptor(Descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  // Whoever gets it closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

// Repeats a system call that a signal interrupted.
template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// Takes the numbers 0 to 2 where they are free, so that no file that is opened later gets what is meant for
// standard output. Reading from and writing to what is put there fails.
void hold_standard_streams();

// Lets this process have as many descriptors as the system allows it (RLIMIT_NOFILE, the hard limit), but no
// more than 2^20, and tells how many those are.
std::size_t raise_descriptor_limit();

// "/proc/self/fd/7"
[[nodiscard]] inline std::string path_of(const Descriptor& descriptor) {
  return "/proc/self/fd/" + std::to_string(descriptor.fd());
}

}  // namespace cbit::os
