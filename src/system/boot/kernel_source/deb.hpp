// Taking files out of a Debian package without installing it: ar, and the tar archive in it (deb(5)).
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "base/result.hpp"

namespace cbit::boot {

// Writes the package's regular files whose path `wanted` takes below `to`; `wanted` is given the path without
// "./" in front, and no path leads out of `to`. Links and devices are left out. Errors (input): no Debian
// package, damaged, or the disk is full.
OrError<void> extract_deb(const std::filesystem::path& package, const std::filesystem::path& to,
                          const std::function<bool(std::string_view)>& wanted);

}  // namespace cbit::boot
