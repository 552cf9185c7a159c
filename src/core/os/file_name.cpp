#include "os/file_name.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <string_view>

#include "os/descriptor.hpp"

namespace cbit::os {
namespace {

constexpr unsigned links_max = 40;  // MAXSYMLINKS

std::string folder_part(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string name_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::optional<int> number_of(std::string_view digits) {
  int value = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool good =
      !digits.empty() && error == std::errc{} && end == digits.data() + digits.size() && value >= 0;
  return good ? std::optional{value} : std::nullopt;
}

tl::unexpected<Error> refuse(const std::string& path, std::string_view why, std::string hint) {
  return tl::unexpected{
      Error{fmt::format("cannot write {}: {}", path, why), std::move(hint), ExitCode::output_failed}};
}

// Documentation/admin-guide/sysctl/fs.rst, protected_symlinks: in a sticky folder that everybody may write
// to, a link is followed by its owner, and where the folder is its owner's.
bool is_suspicious(const std::string& path, const struct stat& link) {
  struct stat folder{};
  constexpr mode_t shared = S_ISVTX | S_IWOTH;
  if (::stat(folder_part(path).c_str(), &folder) != 0 || (folder.st_mode & shared) != shared) return false;
  return link.st_uid != ::geteuid() && link.st_uid != folder.st_uid;
}

}  // namespace

void hold_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one. It is not to be closed.
    if (::open("/dev/null", fd == standard_input ? O_WRONLY : O_RDONLY) != fd) return;
  }
}

std::size_t raise_descriptor_limit() {
  constexpr rlim_t most = 1 << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{std::max(limit.rlim_cur, std::min(limit.rlim_max, most)), limit.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

std::optional<int> descriptor_of(const std::string& path) {
  constexpr std::pair<std::string_view, int> streams[] = {
      {"/dev/stdin", 0}, {"/dev/stdout", 1}, {"/dev/stderr", 2}};
  for (const auto& [name, fd] : streams)
    if (path == name) return fd;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"})
    if (path.starts_with(folder)) return number_of(std::string_view{path}.substr(folder.size()));
  return std::nullopt;
}

OrError<Resolved> resolve_output(const std::string& path) {
  std::string at = path;
  for (unsigned links = 0; links <= links_max; ++links) {
    if (const auto fd = descriptor_of(at)) return Resolved{at, fd};
    struct stat info{};
    if (::lstat(at.c_str(), &info) != 0) {
      if (errno == ENOENT) return Resolved{at, {}};
      return refuse(path, std::strerror(errno), "check the way to it");
    }
    if (!S_ISLNK(info.st_mode)) return Resolved{at, {}};
    if (is_suspicious(at, info))
      return refuse(path, fmt::format("{} is a link that somebody else put there", at),
                    "write to a folder of your own");
    std::array<char, PATH_MAX> target;
    const ssize_t n = ::readlink(at.c_str(), target.data(), target.size());
    if (n <= 0) return refuse(path, n == 0 ? "an empty link" : std::strerror(errno), "check the link");
    const std::string to{target.data(), static_cast<std::size_t>(n)};
    at = to.starts_with('/') ? to : (folder_part(at) == "." ? to : folder_part(at) + to);
  }
  return refuse(path, std::strerror(ELOOP), "check the links on the way to it");
}

std::optional<FileId> id_of(const Resolved& place) {
  struct stat info{};
  const int found = place.descriptor ? ::fstat(*place.descriptor, &info) : ::lstat(place.path.c_str(), &info);
  if (found == 0) {
    if (S_ISCHR(info.st_mode)) return std::nullopt;
    return FileId{info.st_dev, info.st_ino, {}};
  }
  if (place.descriptor || ::stat(folder_part(place.path).c_str(), &info) != 0) return std::nullopt;
  return FileId{info.st_dev, info.st_ino, name_part(place.path)};
}

std::optional<FileId> id_of_input(const std::string& path) {
  struct stat info{};
  const auto fd = descriptor_of(path);
  if ((fd ? ::fstat(*fd, &info) : ::stat(path.c_str(), &info)) != 0 || !S_ISREG(info.st_mode))
    return std::nullopt;
  return FileId{info.st_dev, info.st_ino, {}};
}

}  // namespace cbit::os
