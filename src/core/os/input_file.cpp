#include "os/input_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "os/file_name.hpp"

namespace cbit::os {
namespace {

using Clock = std::chrono::steady_clock;

tl::unexpected<Error> not_read(const std::string& path, std::string_view why, std::string_view remedy) {
  return bad_input(fmt::format("cannot read {}: {}", path, why), std::string{remedy});
}

std::string size_text(std::uint64_t bytes) {
  if (bytes >= (1 << 20) && bytes % (1 << 20) == 0) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} bytes", bytes);
}

tl::unexpected<Error> too_large(const std::string& path, const std::string& size, const InputKind& kind) {
  return bad_input(
      fmt::format("{} has {}: {} has at most {}", path, size, kind.what, size_text(kind.bytes_max)),
      fmt::format("that is not {}: check the name", kind.what));
}

std::string_view name_of_type(mode_t mode) {
  if (S_ISDIR(mode)) return "it is a folder";
  if (S_ISFIFO(mode)) return "it is a FIFO";
  if (S_ISSOCK(mode)) return "it is a socket";
  return "it is a device";
}

OrError<void> check_regular(const std::string& path, const struct stat& info, const InputKind& kind) {
  constexpr std::string_view copy = "copy what you want to give into a file";
  if (!S_ISREG(info.st_mode))
    return not_read(path, name_of_type(info.st_mode), S_ISDIR(info.st_mode) ? kind.remedy : copy);
  if (is_kernels_own(path)) return not_read(path, "it is a file of the kernel's own", copy);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes > kind.bytes_max) return too_large(path, size_text(bytes), kind);
  return {};
}

// ---- streams

struct Deadline {
  Clock::time_point whole;
  std::chrono::milliseconds patience;

  // False: nothing came in time, or the whole takes too long.
  [[nodiscard]] bool wait_for(int fd) const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(whole - Clock::now());
    const auto now = std::min(patience, left);
    if (now.count() <= 0) return false;
    pollfd poller{fd, POLLIN, 0};
    return retry([&] { return ::poll(&poller, 1, static_cast<int>(now.count())); }) > 0;
  }
};

OrError<std::string> read_stream(const std::string& path, int fd, const InputKind& kind) {
  const Deadline deadline{Clock::now() + 6 * kind.patience, kind.patience};
  std::string text;
  std::array<char, 16384> chunk;
  for (;;) {
    if (!deadline.wait_for(fd))
      return not_read(path,
                      fmt::format("no end to it within {} s",
                                  std::chrono::duration_cast<std::chrono::seconds>(kind.patience).count()),
                      "give a file, or a program that ends");
    const ssize_t n = retry([&] { return ::read(fd, chunk.data(), chunk.size()); });
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0) return not_read(path, std::strerror(errno), "check where it comes from");
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(n));
    if (text.size() > kind.bytes_max)
      return too_large(path, fmt::format("more than {}", size_text(kind.bytes_max)), kind);
  }
}

std::optional<int> stream_of(const std::string& path, const InputKind& kind) {
  if (!kind.streams) return std::nullopt;
  return path == "-" ? std::optional{standard_input} : descriptor_of(path);
}

}  // namespace

// File systems whose files the kernel makes up when they are read.
bool is_kernels_own(const std::string& path) {
  constexpr long kernels[] = {PROC_SUPER_MAGIC,    SYSFS_MAGIC,      DEBUGFS_MAGIC,
                              TRACEFS_MAGIC,       SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC,
                              CGROUP2_SUPER_MAGIC, PSTOREFS_MAGIC,   BPF_FS_MAGIC};
  struct statfs info{};
  if (::statfs(path.c_str(), &info) != 0) return false;
  return std::ranges::any_of(kernels, [&](long magic) { return info.f_type == magic; });
}

OrError<InputFile> InputFile::open(const std::string& path, const InputKind& kind) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return not_read(path, std::strerror(errno), kind.remedy);
  CBIT_TRY(check_regular(path, info, kind));
  // What took its place meanwhile does not make us wait either.
  Descriptor file{retry([&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); })};
  if (!file.is_open() || ::fstat(file.fd(), &info) != 0)
    return not_read(path, std::strerror(errno), "check its rights");
  CBIT_TRY(check_regular(path, info, kind));
  return InputFile{path, std::move(file), static_cast<std::uint64_t>(info.st_size)};
}

OrError<std::size_t> InputFile::read(ByteSpan to) {
  std::size_t have = 0;
  while (have < to.size()) {
    const ssize_t n = retry([&] { return ::read(file_.fd(), to.data() + have, to.size() - have); });
    if (n < 0) return not_read(path_, std::strerror(errno), "check the disk that it is on");
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  return have;
}

OrError<std::string> read_input(const std::string& path, const InputKind& kind) {
  if (const auto fd = stream_of(path, kind)) return read_stream(path, *fd, kind);
  InputFile file = CBIT_TRY(InputFile::open(path, kind));
  std::string text;
  std::array<std::byte, 16384> chunk;
  for (;;) {
    const std::size_t n = CBIT_TRY(file.read(chunk));
    if (n == 0) return text;
    text.append(reinterpret_cast<const char*>(chunk.data()), n);
    if (text.size() > kind.bytes_max)
      return too_large(path, fmt::format("more than {}", size_text(kind.bytes_max)), kind);
  }
}

}  // namespace cbit::os
