#include "dev/p9/shared_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <limits>
#include <system_error>

#include "base/format.hpp"
#include "os/input_file.hpp"

namespace cbit::dev {
namespace {

using os::Descriptor;
using os::retry;

tl::unexpected<Errno> refused_by_host() { return refused(errno != 0 ? errno : EIO); }

// What is there, whatever it is, without opening it.
OrErrno<Descriptor> hold(int folder, const std::string& name) {
  Descriptor place{::openat(folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!place.is_open()) return refused_by_host();
  return place;
}

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using OpenFolder = std::unique_ptr<DIR, CloseFolder>;

OrErrno<OpenFolder> open_folder(int folder) {
  Descriptor opened{retry([&] { return ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); })};
  if (!opened.is_open()) return refused_by_host();
  OpenFolder stream{::fdopendir(opened.fd())};
  if (!stream) return refused_by_host();
  static_cast<void>(opened.release());
  return stream;
}

tl::unexpected<Error> not_shared(const std::string& path, std::string_view why, std::string hint) {
  return bad_input(fmt::format("cannot share {}: {}", path, why), std::move(hint));
}

tl::unexpected<Error> not_shared(const std::string& path, int number) {
  if (number == ENOTDIR) return not_shared(path, "it is no folder", "share the folder that it is in");
  const bool rights = number == EACCES || number == EPERM;
  return not_shared(
      path, std::generic_category().message(number),
      rights ? "a folder that is shared must be readable: check its rights" : "name a folder of this host");
}

}  // namespace

// ---- SharedNode -----------------------------------------------------------------------------------------

OrErrno<SharedNode> SharedNode::clone() const {
  Descriptor place{::fcntl(place_.fd(), F_DUPFD_CLOEXEC, 0)};
  if (!place.is_open()) return refused_by_host();
  return SharedNode{std::move(place), path_};
}

OrErrno<struct stat> SharedNode::status() const {
  struct stat status{};
  if (::fstat(place_.fd(), &status) != 0) return refused_by_host();
  return status;
}

OrErrno<struct statfs> SharedNode::file_system() const {
  struct statfs status{};
  if (retry([&] { return ::fstatfs(place_.fd(), &status); }) != 0) return refused_by_host();
  return status;
}

OrErrno<std::string> SharedNode::target() const {
  if (!S_ISLNK(CBIT_TRY(status()).st_mode)) return refused(EINVAL);
  std::array<char, PATH_MAX> text;
  const ssize_t n = ::readlinkat(place_.fd(), "", text.data(), text.size());
  if (n < 0) return refused_by_host();
  return std::string(text.data(), static_cast<std::size_t>(n));
}

OrErrno<void> SharedNode::open() {
  const struct stat status = CBIT_TRY(this->status());
  if (S_ISLNK(status.st_mode)) return refused(ELOOP);
  if (S_ISDIR(status.st_mode)) {
    CBIT_TRY(open_folder(place_.fd()));
    return {};
  }
  const std::string itself = os::path_of(place_);
  if (!S_ISREG(status.st_mode) || os::is_kernels_own(itself)) return refused(EACCES);
  // The descriptor leads to this very file, whatever has its name by now.
  Descriptor opened{
      retry([&] { return ::open(itself.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); })};
  if (!opened.is_open()) return refused_by_host();
  place_ = std::move(opened);
  return {};
}

OrErrno<std::size_t> SharedNode::read(std::uint64_t offset, ByteSpan to) const {
  constexpr auto offset_max = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  std::size_t have = 0;
  while (have < to.size()) {
    if (offset > offset_max - have) return refused(EINVAL);
    const ssize_t n = retry([&] {
      return ::pread(place_.fd(), to.data() + have, to.size() - have, static_cast<off_t>(offset + have));
    });
    if (n < 0) return refused_by_host();
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  return have;
}

// ---- SharedFolder ---------------------------------------------------------------------------------------

OrError<std::unique_ptr<SharedFolder>> SharedFolder::open(const std::string& path) {
  Descriptor root{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root.is_open()) return not_shared(path, errno);
  if (os::is_kernels_own(path))
    return not_shared(path, "its files are the kernel's own", "copy what you want to share into a folder");
  struct stat status{};
  if (::fstat(root.fd(), &status) != 0) return not_shared(path, errno);
  if (const auto readable = open_folder(root.fd()); !readable)
    return not_shared(path, readable.error().value);
  if (::faccessat(root.fd(), ".", X_OK, AT_EACCESS) != 0) return not_shared(path, errno);
  return std::unique_ptr<SharedFolder>{new SharedFolder{path, std::move(root), status.st_dev}};
}

OrErrno<SharedNode> SharedFolder::root() const {
  return SharedNode{CBIT_TRY(hold(root_.fd(), ".")), std::string{}};
}

OrErrno<SharedNode> SharedFolder::step(const SharedNode& from, std::string_view name) const {
  if (!is_name(name)) return refused(ENOENT);
  if (name == "..") return above(from);
  std::string path = from.path_.empty() ? std::string{name} : fmt::format("{}/{}", from.path_, name);
  if (path.size() >= PATH_MAX) return refused(ENAMETOOLONG);
  return SharedNode{CBIT_TRY(hold(from.place_.fd(), std::string{name})), std::move(path)};
}

OrErrno<SharedNode> SharedFolder::find(std::string_view path) const {
  SharedNode at = CBIT_TRY(root());
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    at = CBIT_TRY(step(at, path.substr(0, end)));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return at;
}

OrErrno<SharedNode> SharedFolder::above(const SharedNode& folder) const {
  if (!S_ISDIR(CBIT_TRY(folder.status()).st_mode)) return refused(ENOTDIR);
  const std::size_t slash = folder.path_.rfind('/');
  return find(std::string_view{folder.path_}.substr(0, slash == std::string::npos ? 0 : slash));
}

OrErrno<std::vector<SharedEntry>> SharedFolder::list(const SharedNode& folder,
                                                     std::size_t entries_max) const {
  const OpenFolder stream = CBIT_TRY(open_folder(folder.place_.fd()));
  std::vector<SharedEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return refused_by_host();
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entries.size() == entries_max) return refused(EOVERFLOW);
    struct stat status{};
    // What is gone by now is not there.
    if (::fstatat(folder.place_.fd(), entry->d_name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0)
      entries.push_back({std::string{name}, status});
  }
  std::ranges::sort(entries, {}, &SharedEntry::name);
  const struct stat own = CBIT_TRY(folder.status());
  const auto parent = above(folder);
  const auto parents = parent ? parent->status() : OrErrno<struct stat>{own};
  const SharedEntry dots[] = {{".", own}, {"..", parents ? *parents : own}};
  entries.insert(entries.begin(), std::begin(dots), std::end(dots));
  return entries;
}

}  // namespace cbit::dev
