// Opening paths under a root folder as after chroot(): absolute links begin at the root, and `..` ends there.
//
// openat2(RESOLVE_IN_ROOT) does the same, where the kernel has it.
#pragma once

#include <string>
#include <string_view>

#include "facts/host_tree.hpp"
#include "os/descriptor.hpp"

namespace cbit::facts {

using OpenFile = os::Descriptor;

[[nodiscard]] Unread unread_from_errno(int error);

// A regular file, opened for reading.
[[nodiscard]] Read<OpenFile> open_file_in(int root, std::string_view path);
[[nodiscard]] Read<OpenFile> open_folder_in(int root, std::string_view path);
// The target of the link at `path`, as it is written.
[[nodiscard]] Read<std::string> read_link_in(int root, std::string_view path);

}  // namespace cbit::facts
