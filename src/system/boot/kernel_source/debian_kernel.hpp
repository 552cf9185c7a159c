// Debian's kernel for those who name none: downloaded by apt into the user's cache, checked, used again
// without a network. Nothing is installed, and nothing needs root.
//
//   CACHE/kernels/PACKAGE/origin             what it is and its checksums
//                        /boot, /lib/modules as in the package
//
// Threading and processes: one fetches at a time (a lock in the cache); finished folders do not change.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit::boot {

struct DebianKernelOptions {
  std::filesystem::path cache;  // user_cache()
  std::string package = "linux-image-cloud-amd64";
  bool refresh = false;  // asks apt although the cache has one
  std::string apt_get = "apt-get";
  std::string apt_cache = "apt-cache";
  std::chrono::seconds timeout{600};
  // Told what takes a while: "downloading linux-image-6.1.0-13-cloud-amd64".
  std::function<void(std::string_view)> on_progress;
};

struct DebianKernel {
  std::string release;            // "6.1.0-13-cloud-amd64"
  std::filesystem::path image;    // vmlinuz
  std::filesystem::path modules;  // lib/modules/RELEASE
  std::string origin;             // "linux-image-6.1.0-13-cloud-amd64 6.1.55-1"
  bool fetched = false;           // not from the cache
};

// $XDG_CACHE_HOME/cbit, else $HOME/.cache/cbit. Errors (usage): neither is set.
OrError<std::filesystem::path> user_cache();

// Errors (input): there is no apt; it knows no such package; no network; what came is not what apt's signed
// lists promise; the cache cannot be written. Each says what to give instead.
OrError<DebianKernel> find_debian_kernel(const DebianKernelOptions& options);

// A stanza of `apt-cache show`: the first one's fields.
[[nodiscard]] std::map<std::string, std::string, std::less<>> parse_stanza(std::string_view text);
// Names in a Depends field that are parts of a kernel: linux-image-6*, linux-binary-*, linux-modules-*; the
// first of alternatives.
[[nodiscard]] std::vector<std::string> kernel_parts(std::string_view depends);

}  // namespace cbit::boot
