#include "dev/disk_image.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/format.hpp"
#include "os/input_file.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint64_t io_bytes_max = 1u << 30;  // below the limit of one pread or pwrite

using os::retry;

tl::unexpected<Error> io_error(const std::string& path, ExitCode code, std::string hint = {}) {
  return tl::unexpected{
      Error{fmt::format("{}: {}", path, std::generic_category().message(errno)), std::move(hint), code}};
}

OrError<void> check_kind(const std::string& path, const struct stat& info) {
  if (S_ISDIR(info.st_mode)) return bad_input(path + ": is a directory", "name the image file itself");
  if (!S_ISREG(info.st_mode)) return bad_input(path + ": is not a regular file", "name a raw disk image");
  return {};
}

// Until it is closed. QEMU's locks (block/file-posix.c) and these see each other. Where a file system has
// none, there is nobody to ask.
OrError<void> lock(const std::string& path, int fd, DiskImage::Mode mode) {
  struct flock whole{};
  whole.l_type = mode == DiskImage::Mode::read_write ? F_WRLCK : F_RDLCK;
  whole.l_whence = SEEK_SET;
  if (retry([&] { return ::fcntl(fd, F_OFD_SETLK, &whole); }) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return {};
  return bad_input(path + ": another process uses it",
                   "end that one first, or give a copy; several may read an image if all open it read-only");
}

OrError<std::uint64_t> image_size(const std::string& path, int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return io_error(path, ExitCode::bad_input);
  CBIT_TRY(check_kind(path, info));
  if (info.st_size == 0)
    return bad_input(path + ": is empty", fmt::format("give it a size, e.g. truncate -s 64M {}", path));
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes % sector_size != 0)
    return bad_input(
        fmt::format("{}: {} bytes are not a whole number of {}-byte sectors", path, bytes, sector_size),
        fmt::format("if it is not cut short, pad it: truncate -s %{} {}", sector_size, path));
  return bytes;
}

}  // namespace

OrError<std::unique_ptr<DiskImage>> DiskImage::open(const std::string& path, Mode mode) {
  struct stat info{};
  if (path.empty()) return usage_error("a disk has no name", "name a raw disk image");
  if (::stat(path.c_str(), &info) != 0)
    return io_error(path, ExitCode::bad_input,
                    "name a raw disk image; truncate -s 64M FILE makes an empty one");
  CBIT_TRY(check_kind(path, info));
  if (os::is_kernels_own(path))
    return bad_input(path + ": is a file of the kernel's own", "name a raw disk image");
  const int access = mode == Mode::read_only ? O_RDONLY : O_RDWR;
  // O_NONBLOCK: what took its place meanwhile must not make us wait; it means nothing for a file.
  os::Descriptor file{
      retry([&] { return ::open(path.c_str(), access | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); })};
  if (!file.is_open()) {
    const bool denied = mode == Mode::read_write && (errno == EACCES || errno == EROFS || errno == EPERM);
    return io_error(path, ExitCode::bad_input, denied ? "open it read-only, or make it writable" : "");
  }
  CBIT_TRY(lock(path, file.fd(), mode));
  std::unique_ptr<DiskImage> image{new DiskImage{path, mode}};
  image->bytes_ = CBIT_TRY(image_size(path, file.fd()));
  image->fd_ = file.fd();
  image->opened_ = std::move(file);
  return image;
}

OrError<std::unique_ptr<DiskImage>> DiskImage::create(const std::string& path, std::uint64_t bytes) {
  if (bytes == 0 || bytes % sector_size != 0 || bytes > bit_mask(63))
    return usage_error(
        fmt::format("{}: {} bytes are not a whole number of {}-byte sectors", path, bytes, sector_size));
  std::unique_ptr<DiskImage> image{new DiskImage{path, Mode::read_write}};
  image->new_.emplace(CBIT_TRY(os::NewFile::create(path)));
  image->fd_ = image->new_->fd();
  image->bytes_ = bytes;
  if (retry([&] { return ::ftruncate(image->fd_, static_cast<off_t>(bytes)); }) != 0)
    return io_error(path, ExitCode::output_failed);
  return image;
}

OrError<void> DiskImage::commit() {
  if (!new_ || committed_) return usage_error(path_ + ": is not a new image");
  CBIT_TRY(new_->commit());
  committed_ = true;
  return {};
}

tl::unexpected<Error> DiskImage::cut_short(std::uint64_t end) const {
  return bad_input(fmt::format("{}: ends at {} of {} bytes", path_, end, bytes_),
                   "the image was cut short while it was in use: leave it alone until the guest has ended");
}

// A write behind the end would make the file grow again, with zeros where the disk's bytes were.
OrError<void> DiskImage::check_still_there(std::uint64_t end) const {
  struct stat info{};
  if (::fstat(fd_, &info) != 0) return io_error(path_, ExitCode::output_failed);
  if (std::cmp_less(info.st_size, end)) return cut_short(static_cast<std::uint64_t>(info.st_size));
  return {};
}

OrError<void> DiskImage::remembered(OrError<void> done) {
  if (!done && !failure_) failure_ = done.error();
  return done;
}

OrError<void> DiskImage::read(std::uint64_t offset, ByteSpan to) {
  CBIT_TRY(check_range(*this, offset, to.size()));
  return remembered(read_file(offset, to));
}

OrError<void> DiskImage::read_file(std::uint64_t offset, ByteSpan to) {
  while (!to.empty()) {
    const auto wanted = std::min<std::uint64_t>(to.size(), io_bytes_max);
    const auto got = retry([&] { return ::pread(fd_, to.data(), wanted, static_cast<off_t>(offset)); });
    if (got == -1) return io_error(path_, ExitCode::bad_input);
    if (got == 0) {
      CBIT_TRY(check_still_there(bytes_));
      return cut_short(offset);  // it has grown again meanwhile
    }
    to = to.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

OrError<void> DiskImage::write(std::uint64_t offset, ConstByteSpan from) {
  CBIT_TRY(check_writable(*this, offset, from.size()));
  return remembered(write_file(offset, from));
}

OrError<void> DiskImage::write_file(std::uint64_t offset, ConstByteSpan from) {
  CBIT_TRY(check_still_there(offset + from.size()));
  while (!from.empty()) {
    const auto wanted = std::min<std::uint64_t>(from.size(), io_bytes_max);
    const auto put = retry([&] { return ::pwrite(fd_, from.data(), wanted, static_cast<off_t>(offset)); });
    if (put == -1) return io_error(path_, ExitCode::output_failed);
    from = from.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

// False where the file system has no holes.
OrError<bool> DiskImage::punch(std::uint64_t offset, std::uint64_t bytes) {
  const int done = retry([&] {
    return ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes));
  });
  if (done == 0) return true;
  if (errno == EOPNOTSUPP || errno == ENOSYS) return false;
  return io_error(path_, ExitCode::output_failed);
}

OrError<void> DiskImage::zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) {
  CBIT_TRY(check_writable(*this, offset, bytes));
  return remembered(zero_file(offset, bytes, may_unmap));
}

OrError<void> DiskImage::zero_file(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) {
  if (bytes == 0 || (may_unmap && CBIT_TRY(punch(offset, bytes)))) return {};
  static constexpr std::array<std::byte, 64 * 1024> zeros{};
  while (bytes != 0) {
    const auto piece = std::min<std::uint64_t>(bytes, zeros.size());
    CBIT_TRY(write_file(offset, ConstByteSpan{zeros}.first(piece)));
    offset += piece;
    bytes -= piece;
  }
  return {};
}

OrError<void> DiskImage::flush() {
  if (read_only()) return {};
  if (retry([&] { return ::fdatasync(fd_); }) == 0) return {};
  return remembered(io_error(path_, ExitCode::output_failed));
}

}  // namespace cbit::dev
