#include "boot/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cbit::boot {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_{fd} {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> unreadable(const std::filesystem::path& path, std::string_view why) {
  return bad_input(fmt::format("cannot read {}: {}", path.string(), why), "name a regular file");
}

}  // namespace

// Not blocking: a FIFO without a writer would be waited for otherwise.
OrError<Bytes> read_file(const std::filesystem::path& path, std::uint64_t bytes_max) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  struct stat status{};
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0) return unreadable(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return unreadable(path, "it is no regular file");
  if (static_cast<std::uint64_t>(status.st_size) > bytes_max)
    return unreadable(path, fmt::format("it has more than {} MiB", bytes_max >> 20));
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t now = ::read(file.fd(), bytes.data() + done, bytes.size() - done);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return unreadable(path, std::strerror(errno));
    if (now == 0) return unreadable(path, "it became shorter meanwhile");
    done += static_cast<std::size_t>(now);
  }
  return bytes;
}

}  // namespace cbit::boot
