#include "os/file_io.hpp"

#include <unistd.h>

#include <cerrno>

#include "os/descriptor.hpp"

namespace cbit::os {

bool write_at(int fd, std::uint64_t offset, ConstByteSpan bytes) {
  while (!bytes.empty()) {
    const auto put =
        retry([&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (put == 0) errno = ENOSPC;
    if (put <= 0) return false;
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return true;
}

bool read_at(int fd, std::uint64_t offset, ByteSpan to) {
  while (!to.empty()) {
    const auto got = retry([&] { return ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset)); });
    if (got <= 0) return false;
    offset += static_cast<std::uint64_t>(got);
    to = to.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace cbit::os
