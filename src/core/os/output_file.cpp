#include "os/output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <streambuf>
#include <string_view>
#include <utility>
#include <vector>

namespace cbit::os {
namespace {

constexpr std::string_view nothing_lost =
    "nothing was lost or left behind; check the folder, its rights and its space";

tl::unexpected<Error> refused(const std::string& path, std::string_view why, std::string hint) {
  return tl::unexpected{
      Error{fmt::format("cannot write {}: {}", path, why), std::move(hint), ExitCode::output_failed}};
}

tl::unexpected<Error> failed(const std::string& path, int reason) {
  return refused(path, std::strerror(reason), std::string{nothing_lost});
}

std::pair<std::string, std::string> split(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

// Of what is already there; nullopt: nothing is.
OrError<std::optional<mode_t>> kind_of(const std::string& shown, const Resolved& place) {
  struct stat info{};
  if (::lstat(place.path.c_str(), &info) != 0) {
    if (errno == ENOENT) return std::optional<mode_t>{};
    return failed(shown, errno);
  }
  switch (info.st_mode & S_IFMT) {
    case S_IFDIR: return refused(shown, "it is a folder", "name a file in it");
    case S_IFSOCK: return refused(shown, "it is a socket", "name a file, a FIFO, or - for standard output");
    case S_IFBLK: return refused(shown, "it is a block device, and would be destroyed", "name a file");
    default: return std::optional<mode_t>{info.st_mode & S_IFMT};
  }
}

bool is_into(std::optional<mode_t> kind) { return kind && (S_ISCHR(*kind) || S_ISFIFO(*kind)); }

OrError<void> check_descriptor(const std::string& shown, int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return failed(shown, errno);
  if ((flags & O_ACCMODE) == O_RDONLY) return refused(shown, "it is not open for writing", "name a file");
  return {};
}

// A FIFO that nobody reads cannot be opened for writing without waiting.
OrError<Descriptor> open_into(const std::string& shown, const std::string& path) {
  constexpr int tries = 100, try_ms = 50;
  constexpr int flags = O_WRONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
  Descriptor file{retry([&] { return ::open(path.c_str(), flags); })};
  for (int i = 0; !file.is_open() && errno == ENXIO && i < tries; ++i) {
    ::poll(nullptr, 0, try_ms);
    file = Descriptor{retry([&] { return ::open(path.c_str(), flags); })};
  }
  if (!file.is_open() && errno == ENXIO)
    return refused(shown, "nobody reads from it", "start its reader first, or name a file");
  if (!file.is_open()) return failed(shown, errno);
  struct stat info{};
  if (::fstat(file.fd(), &info) != 0 || !is_into(info.st_mode))
    return refused(shown, "it became something else meanwhile", "try again");
  ::fcntl(file.fd(), F_SETFL, ::fcntl(file.fd(), F_GETFL) & ~O_NONBLOCK);
  return file;
}

// In a sticky folder only the owner of a file, or of the folder, may replace it.
bool may_replace(int folder, const struct stat& file) {
  struct stat info{};
  if (::fstat(folder, &info) != 0 || (info.st_mode & S_ISVTX) == 0 || ::geteuid() == 0) return true;
  return file.st_uid == ::geteuid() || info.st_uid == ::geteuid();
}

// A file of its own that is mounted there, as containers have them, cannot be replaced.
bool is_mount_point(int folder, const std::string& name) {
  struct statx info{};
  if (::statx(folder, name.c_str(), AT_SYMLINK_NOFOLLOW, 0, &info) != 0) return false;
  return (info.stx_attributes & info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0;
}

std::string unpredictable_name() {
  std::array<unsigned char, 12> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) return {};
  std::string name{".cbit-"};
  for (const unsigned char byte : random) name += fmt::format("{:02x}", byte);
  return name;
}

void copy_access_list(int from, int to, bool& kept) {
  constexpr const char* name = "system.posix_acl_access";
  const ssize_t bytes = ::fgetxattr(from, name, nullptr, 0);
  if (bytes <= 0) return;
  std::vector<char> list(static_cast<std::size_t>(bytes));
  const ssize_t got = ::fgetxattr(from, name, list.data(), list.size());
  kept = got > 0 && ::fsetxattr(to, name, list.data(), static_cast<std::size_t>(got), 0) == 0;
}

}  // namespace

// ---- a file that takes another's place --------------------------------------------------------------------

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlinkat(folder_.fd(), temporary_.c_str(), 0);
}

tl::unexpected<Error> NewFile::cannot_write(int reason) const { return failed(shown_, reason); }

OrError<NewFile> NewFile::create(const std::string& path, bool anonymous) {
  NewFile file;
  CBIT_TRY(file.look_at_target(path));
  CBIT_TRY(file.open_beside(anonymous));
  return file;
}

OrError<void> NewFile::look_at_target(const std::string& path) {
  shown_ = path;
  const Resolved place = CBIT_TRY(resolve_output(path));
  if (place.descriptor)
    return refused(shown_, "it is a stream, and this file is written at random places", "name a file");
  const auto kind = CBIT_TRY(kind_of(shown_, place));
  if (is_into(kind))
    return refused(shown_, "it is no file, and this one is written at random places", "name a file");
  auto [folder, name] = split(place.path);
  if (name.empty()) return refused(shown_, path.empty() ? "it has no name" : "it is a folder", "name a file");
  name_ = std::move(name);
  folder_ = Descriptor{retry([&] { return ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); })};
  if (!folder_.is_open()) return cannot_write(errno);
  if (!kind) return {};
  // Opening changes nothing, and finds out what forbids writing: modes, attributes, a program that runs.
  constexpr int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  old_ = Descriptor{retry([&] { return ::openat(folder_.fd(), name_.c_str(), flags); })};
  struct stat info{};
  if (!old_.is_open() || ::fstat(old_.fd(), &info) != 0) return cannot_write(errno);
  if (!S_ISREG(info.st_mode)) return refused(shown_, "it became something else meanwhile", "try again");
  if (!may_replace(folder_.fd(), info))
    return refused(shown_, "it is somebody else's, in a folder where only owners may replace a file",
                   "write to a folder of your own");
  if (is_mount_point(folder_.fd(), name_))
    return refused(shown_, "it is mounted there, and cannot be replaced",
                   "mount its folder, or name another file");
  return {};
}

OrError<void> NewFile::open_beside(bool anonymous) {
  // Whoever may not read the old file may not read what becomes of it either.
  const mode_t mode = old_.is_open() ? 0600 : 0666;
  if (anonymous && open_anonymous(mode)) return {};
  if (!open_named(mode)) return cannot_write(errno);
  return {};
}

bool NewFile::open_anonymous(mode_t mode) {
  file_ =
      Descriptor{retry([&] { return ::openat(folder_.fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode); })};
  // Its name is given to it through /proc.
  if (file_.is_open() && ::access(path_of(file_).c_str(), F_OK) == 0) return true;
  file_.reset();
  return false;
}

bool NewFile::open_named(mode_t mode) {
  constexpr int tries = 16, flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  errno = EIO;
  for (int i = 0; i < tries && !file_.is_open(); ++i) {
    const SignalsHeld held;
    temporary_ = unpredictable_name();
    if (temporary_.empty()) return false;
    file_ = Descriptor{retry([&] { return ::openat(folder_.fd(), temporary_.c_str(), flags, mode); })};
    if (file_.is_open())
      cleanup_ = Cleanup::file(folder_.fd(), temporary_);
    else if (errno != EEXIST)
      break;
  }
  if (!file_.is_open()) temporary_.clear();
  return file_.is_open();
}

// Never more than the old file allowed.
void NewFile::keep_rights() const {
  struct stat info{};
  if (!old_.is_open() || ::fstat(old_.fd(), &info) != 0) return;
  mode_t mode = info.st_mode & 07777;
  if (::fchown(file_.fd(), info.st_uid, info.st_gid) != 0) {
    mode &= 0777;
    if (::fchown(file_.fd(), static_cast<uid_t>(-1), info.st_gid) != 0) mode &= ~mode_t{0070};
  }
  bool kept = true;
  copy_access_list(old_.fd(), file_.fd(), kept);
  if (!kept) mode &= ~mode_t{0070};
  ::fchmod(file_.fd(), mode);
}

OrError<void> NewFile::commit() {
  keep_rights();
  if (retry([&] { return ::fsync(file_.fd()); }) != 0 && errno != EINVAL && errno != ENOSYS)
    return cannot_write(errno);
  if (!take_its_place()) return cannot_write(errno);
  // The folder's entry is durable only after this; some file systems cannot, and say so.
  const Descriptor folder{::openat(folder_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.is_open()) ::fsync(folder.fd());
  return {};
}

bool NewFile::take_its_place() {
  const SignalsHeld held;
  if (temporary_.empty()) {
    std::string name = unpredictable_name();
    if (name.empty() ||
        ::linkat(AT_FDCWD, path_of(file_).c_str(), folder_.fd(), name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      return false;
    temporary_ = std::move(name);
  }
  struct stat info{};
  const bool there = ::fstatat(folder_.fd(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (there && !S_ISREG(info.st_mode)) {
    errno = EEXIST;  // something else took the name meanwhile
    return false;
  }
  if (::renameat(folder_.fd(), temporary_.c_str(), folder_.fd(), name_.c_str()) != 0) return false;
  temporary_.clear();
  cleanup_.forget();
  return true;
}

// ---- what a path is ---------------------------------------------------------------------------------------

bool is_standard_output(const std::string& path) {
  if (path == "-") return true;
  const auto place = resolve_output(path);
  return place && place->descriptor == standard_output;
}

bool is_written_into(const std::string& path) {
  if (path == "-") return true;
  const auto place = resolve_output(path);
  if (!place) return false;
  if (place->descriptor) return true;
  const auto kind = kind_of(path, *place);
  return kind && is_into(*kind);
}

OrError<void> check_output(const std::string& path) {
  if (path == "-") return check_descriptor(path, standard_output);
  const Resolved place = CBIT_TRY(resolve_output(path));
  if (place.descriptor) return check_descriptor(path, *place.descriptor);
  if (!is_into(CBIT_TRY(kind_of(path, place)))) {
    CBIT_TRY(NewFile::create(path));
    return {};
  }
  if (::faccessat(AT_FDCWD, place.path.c_str(), W_OK, AT_EACCESS) != 0) return failed(path, errno);
  return {};
}

// ---- streams ----------------------------------------------------------------------------------------------

// Writes to a descriptor, and remembers the first thing that went wrong.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(int fd) : fd_{fd}, bytes_(64 * 1024) {
    setp(bytes_.data(), bytes_.data() + bytes_.size());
  }

  [[nodiscard]] int error() const { return error_; }

 protected:
  int_type overflow(int_type c) override {
    if (!write_out()) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) {
      *pptr() = traits_type::to_char_type(c);
      pbump(1);
    }
    return traits_type::not_eof(c);
  }
  int sync() override { return write_out() ? 0 : -1; }

 private:
  bool write_out() {
    const char* from = pbase();
    while (from < pptr() && error_ == 0) {
      const ssize_t n = retry([&] { return ::write(fd_, from, static_cast<std::size_t>(pptr() - from)); });
      if (n < 0)
        error_ = errno;
      else
        from += n;
    }
    setp(bytes_.data(), bytes_.data() + bytes_.size());
    return error_ == 0;
  }

  int fd_;
  std::vector<char> bytes_;
  int error_ = 0;
};

OutputFile::OutputFile(std::string path, int fd)
    : path_{std::move(path)},
      buffer_{std::make_unique<DescriptorBuffer>(fd)},
      stream_{std::make_unique<std::ostream>(buffer_.get())} {}
OutputFile::OutputFile(OutputFile&&) noexcept = default;
OutputFile::~OutputFile() = default;

OrError<OutputFile> OutputFile::create(const std::string& path) {
  const Resolved place = path == "-" ? Resolved{path, standard_output} : CBIT_TRY(resolve_output(path));
  if (place.descriptor) {
    CBIT_TRY(check_descriptor(path, *place.descriptor));
    return OutputFile{path, *place.descriptor};
  }
  if (is_into(CBIT_TRY(kind_of(path, place)))) {
    Descriptor into = CBIT_TRY(open_into(path, place.path));
    OutputFile file{path, into.fd()};
    file.into_ = std::move(into);
    return file;
  }
  NewFile replacing = CBIT_TRY(NewFile::create(path));
  OutputFile file{path, replacing.fd()};
  file.replacing_.emplace(std::move(replacing));
  return file;
}

OrError<void> OutputFile::commit() {
  stream_->flush();
  if (buffer_->error() != 0) return failed(path_, buffer_->error());
  if (!*stream_) return failed(path_, EIO);
  return replacing_ ? replacing_->commit() : OrError<void>{};
}

}  // namespace cbit::os
