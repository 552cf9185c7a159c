// Opening paths under a root folder as after chroot(): absolute links begin at the root, and `..` ends there.
//
// openat2(RESOLVE_IN_ROOT) does the same, where the kernel has it.
#pragma once

#include <string>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::facts {

// A descriptor that closes itself.
class OpenFile {
 public:
  explicit OpenFile(int fd = -1) : fd_{fd} {}
  OpenFile(OpenFile&& other) noexcept : fd_{other.fd_} { other.fd_ = -1; }
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();

  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

[[nodiscard]] Unread unread_from_errno(int error);

// A regular file, opened for reading.
[[nodiscard]] Read<OpenFile> open_file_in(int root, std::string_view path);
[[nodiscard]] Read<OpenFile> open_folder_in(int root, std::string_view path);
// The target of the link at `path`, as it is written.
[[nodiscard]] Read<std::string> read_link_in(int root, std::string_view path);

}  // namespace cbit::facts
