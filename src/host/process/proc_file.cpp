#include "process/proc_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "os/descriptor.hpp"

namespace cbit::process {

std::optional<std::string> read_proc_file(const std::string& path, std::size_t bytes_max) {
  const os::Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.is_open()) return std::nullopt;
  std::string text;
  constexpr std::size_t chunk = 64 * 1024;
  for (;;) {
    const std::size_t before = text.size();
    if (before > bytes_max) {
      errno = EFBIG;
      return std::nullopt;
    }
    text.resize(before + chunk);
    const ssize_t got = read(file.fd(), text.data() + before, chunk);
    text.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
  }
}

}  // namespace cbit::process
