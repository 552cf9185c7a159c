// A folder in which a kernel is built: that of its sources, or the one that `make O=FOLDER` names.
#pragma once

#include <filesystem>

#include "base/result.hpp"

namespace cbit::boot {

// Whether it is one, built or not.
[[nodiscard]] bool is_kernel_tree(const std::filesystem::path& folder);

// The kernel that was built there: its bzImage, else its vmlinux. Errors (input): it is configured for
// another machine than x86-64, or nothing has been built.
OrError<std::filesystem::path> kernel_of_tree(const std::filesystem::path& folder);

}  // namespace cbit::boot
