// A folder of the host's as a guest's root: read through virtio-9p, with an overlay in the guest's memory
// that takes what it changes, so that the host's own programs run there and nothing of the host's is written.
// /proc, /sys, /dev, /run and /tmp are the guest's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "boot/initramfs/module_tree.hpp"

namespace cbit::guest {

inline constexpr std::string_view root_tag = "root";

// What Linux has to have for it, as modules.
[[nodiscard]] std::vector<std::string> drivers_of_host_root();
// Errors (input): the kernel is known to lack one of them.
OrError<void> check_has_host_root(const boot::ModuleTree& modules, std::string_view kernel_name);

// What a guest runs once to have the root ready, of a device with this tag; what then runs the words behind
// it there, beginning in `folder` if there is such.
[[nodiscard]] std::string host_root_setup(std::string_view tag);
[[nodiscard]] std::string host_root_enter(std::string_view folder);

// Where below a folder that is the guest's root this one lies: "/" where it does not.
[[nodiscard]] std::string folder_below_root(const std::string& root, const std::string& folder);

}  // namespace cbit::guest
