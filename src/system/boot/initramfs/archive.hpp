// An initramfs as it grows: files by path, packed as the kernel unpacks them (cpio, format "newc";
// Documentation/driver-api/early-userspace/buffer-format.rst).
//
// The same files give the same bytes: no times, owners or inode numbers of the host's, entries in order of
// path.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::boot {

class InitramfsArchive {
 public:
  // `path` from the root, without a slash in front. Folders above it are made. Errors (input): a path that is
  // empty or leads out of the root; something else has this path.
  OrError<void> add_folder(std::string_view path, unsigned mode = 0755);
  OrError<void> add_file(std::string_view path, Bytes contents, unsigned mode = 0644);
  OrError<void> add_link(std::string_view path, std::string_view target);
  OrError<void> add_character_device(std::string_view path, unsigned major, unsigned minor,
                                     unsigned mode = 0600);

  // Errors (input): a file is larger than the format can say (4 GiB).
  [[nodiscard]] OrError<Bytes> pack() const;

 private:
  struct Folder {};
  struct File {
    Bytes contents;
  };
  struct Link {
    std::string target;
  };
  struct CharacterDevice {
    unsigned major = 0, minor = 0;
  };
  struct Node {
    unsigned mode = 0;
    std::variant<Folder, File, Link, CharacterDevice> what;
  };

  OrError<void> add(std::string_view path, Node node);

  std::map<std::string, Node, std::less<>> nodes_;  // a folder comes before what is in it
};

}  // namespace cbit::boot
