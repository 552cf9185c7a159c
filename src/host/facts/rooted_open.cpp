#include "facts/rooted_open.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <deque>
#include <utility>
#include <vector>

namespace cbit::facts {
namespace {

constexpr unsigned links_max = 40;  // MAXSYMLINKS
constexpr std::size_t components_max = PATH_MAX;

Read<std::string> read_link(int folder, const std::string& name) {
  std::array<char, PATH_MAX> target;
  const ssize_t n = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (n < 0) return tl::unexpected{unread_from_errno(errno)};
  return std::string(target.data(), static_cast<std::size_t>(n));
}

// The way from the root to a file, one descriptor per folder on it.
class Walk {
 public:
  explicit Walk(int root) : root_{root} {}

  // Stands at the last component. Only its folder is open: `follow` tells whether a link there is followed.
  Read<void> go(std::string_view path, bool follow) {
    prepend(path);
    while (!todo_.empty()) {
      const std::string name = std::move(todo_.front());
      todo_.pop_front();
      CBIT_TRY(step(name, todo_.empty() && !follow));
    }
    return {};
  }

  [[nodiscard]] int folder() const { return folders_.empty() ? root_ : folders_.back().fd(); }
  // Within folder(); "." for the root itself and for a path that ends in `..`.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void prepend(std::string_view path) {
    std::vector<std::string> names;
    for (std::size_t at = 0; at <= path.size();) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      if (end > at) names.emplace_back(path.substr(at, end - at));
      at = end + 1;
    }
    todo_.insert(todo_.begin(), names.begin(), names.end());
  }

  Read<void> step(const std::string& name, bool stay_at_link) {
    if (name.find('\0') != std::string::npos) return tl::unexpected{Unread::absent};
    CBIT_TRY(enter());
    if (name == ".") return {};
    if (name == "..") {
      if (!folders_.empty()) folders_.pop_back();
      return {};
    }
    struct stat info{};
    if (::fstatat(folder(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return tl::unexpected{unread_from_errno(errno)};
    if (!S_ISLNK(info.st_mode) || stay_at_link) {
      name_ = name;
      return {};
    }
    const std::string target = CBIT_TRY(read_link(folder(), name));
    if (++links_ > links_max || todo_.size() + target.size() > components_max)
      return tl::unexpected{Unread::io_error};
    if (target.starts_with('/')) folders_.clear();
    prepend(target);
    return {};
  }

  // Makes the component that was reached the folder of the next one.
  Read<void> enter() {
    if (name_ == ".") return {};
    const int fd = ::openat(folder(), name_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return tl::unexpected{errno == ENOTDIR ? Unread::absent : unread_from_errno(errno)};
    folders_.emplace_back(fd);
    name_.assign(1, '.');  // g++ 12 warns about an assignment of "."
    return {};
  }

  int root_;
  std::deque<std::string> todo_;
  std::vector<OpenFile> folders_;
  std::string name_ = ".";
  unsigned links_ = 0;
};

// A FIFO that took the file's place meanwhile does not block either: O_NONBLOCK.
Read<OpenFile> open_at(const Walk& walk, int flags, mode_t type) {
  struct stat info{};
  if (::fstatat(walk.folder(), walk.name().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return tl::unexpected{unread_from_errno(errno)};
  if ((info.st_mode & S_IFMT) != type) return tl::unexpected{Unread::not_a_file};
  OpenFile file{::openat(walk.folder(), walk.name().c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags)};
  if (file.fd() < 0) return tl::unexpected{unread_from_errno(errno)};
  if (::fstat(file.fd(), &info) != 0) return tl::unexpected{unread_from_errno(errno)};
  if ((info.st_mode & S_IFMT) != type) return tl::unexpected{Unread::not_a_file};
  return file;
}

}  // namespace

Unread unread_from_errno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
    case ENAMETOOLONG: return Unread::absent;
    case EACCES:
    case EPERM: return Unread::denied;
    case EISDIR:
    case ELOOP:
    case EINVAL: return Unread::not_a_file;
    default: return Unread::io_error;
  }
}

Read<OpenFile> open_file_in(int root, std::string_view path) {
  Walk walk{root};
  CBIT_TRY(walk.go(path, true));
  return open_at(walk, 0, S_IFREG);
}

Read<OpenFile> open_folder_in(int root, std::string_view path) {
  Walk walk{root};
  CBIT_TRY(walk.go(path, true));
  return open_at(walk, O_DIRECTORY, S_IFDIR);
}

Read<std::string> read_link_in(int root, std::string_view path) {
  Walk walk{root};
  CBIT_TRY(walk.go(path, false));
  return read_link(walk.folder(), walk.name());
}

}  // namespace cbit::facts
