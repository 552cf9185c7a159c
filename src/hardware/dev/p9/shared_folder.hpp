// A folder of the host's, as a guest may see it: to read, and nothing outside of it.
//
// The way to a file is gone one name at a time from a folder that is held by a descriptor, and links are
// never followed: so it stays below the shared folder, whatever names are asked for and whatever the host
// does to its files meanwhile. `..` goes back to the shared folder and down again. A node is held by a
// descriptor of O_PATH, which opens nothing: devices, FIFOs and sockets can be looked at, and are never
// opened; neither are files of the kernel's own (os/input_file.hpp), should some be mounted there.
//
// What the host's system refuses is an Errno, which a guest is told as it is. Threading: one thread.
#pragma once

#include <sys/stat.h>
#include <sys/vfs.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "os/descriptor.hpp"

namespace cbit::dev {

// A number of errno(3), never zero.
struct Errno {
  int value = 0;

  friend bool operator==(const Errno&, const Errno&) = default;
};
template <class T>
using OrErrno = Result<T, Errno>;

[[nodiscard]] inline tl::unexpected<Errno> refused(int number) { return tl::unexpected{Errno{number}}; }

class SharedFolder;

// Something in a shared folder, or the folder itself.
class SharedNode {
 public:
  [[nodiscard]] OrErrno<SharedNode> clone() const;
  [[nodiscard]] OrErrno<struct stat> status() const;
  [[nodiscard]] OrErrno<struct statfs> file_system() const;
  // Of a link, as it is written. EINVAL: it is none.
  [[nodiscard]] OrErrno<std::string> target() const;
  // A regular file or a folder is opened to be read; a folder is then read by SharedFolder::list(). Anything
  // else: EACCES, a link ELOOP.
  OrErrno<void> open();
  // Of a file that is open; shorter at its end.
  OrErrno<std::size_t> read(std::uint64_t offset, ByteSpan to) const;

  // Below the shared folder, without a slash in front; empty: it is the folder itself.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  friend class SharedFolder;
  SharedNode(os::Descriptor place, std::string path) : place_{std::move(place)}, path_{std::move(path)} {}

  os::Descriptor place_;
  std::string path_;
};

struct SharedEntry {
  std::string name;
  struct stat status{};
};

class SharedFolder {
 public:
  // Errors (input): there is no such folder, it is none, it cannot be read, it is the kernel's own (/proc).
  static OrError<std::unique_ptr<SharedFolder>> open(const std::string& path);
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Of the file system that the folder itself is on.
  [[nodiscard]] dev_t device() const { return device_; }

  [[nodiscard]] OrErrno<SharedNode> root() const;
  // What has this name in a folder; `..` is the folder above, which of the shared folder is itself. ENOENT:
  // also of what cannot be a name.
  [[nodiscard]] OrErrno<SharedNode> step(const SharedNode& from, std::string_view name) const;
  // Of a path as SharedNode::path() has it.
  [[nodiscard]] OrErrno<SharedNode> find(std::string_view path) const;
  // `.`, `..`, and what is in a folder, in order of its name. EOVERFLOW: there are more than `entries_max`.
  [[nodiscard]] OrErrno<std::vector<SharedEntry>> list(const SharedNode& folder,
                                                       std::size_t entries_max) const;

 private:
  SharedFolder(std::string path, os::Descriptor root, dev_t device)
      : path_{std::move(path)}, root_{std::move(root)}, device_{device} {}
  [[nodiscard]] OrErrno<SharedNode> above(const SharedNode& folder) const;

  std::string path_;
  os::Descriptor root_;
  dev_t device_;
};

}  // namespace cbit::dev
