// Releases of Linux, as it names itself, and which of the modelled versions decides as a release does.
#pragma once

#include <compare>
#include <optional>
#include <string_view>

#include "cbit/kernel_config.hpp"

namespace cbit::spec {

// "6.1" of "6.1.0-18-cloud-amd64".
struct KernelRelease {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const KernelRelease&, const KernelRelease&) = default;
};
// nullopt: it does not begin with a version.
[[nodiscard]] std::optional<KernelRelease> parse_release(std::string_view text);

// The model kernel's version that decides as this release does; 6.1 for one that is older or has no number. A
// version speaks for releases before it, too, where its rules came with them: dma_map_phys() with 6.18,
// DMA_ATTR_CC_SHARED with 7.1.
[[nodiscard]] KernelVersion nearest_version(const std::optional<KernelRelease>& release);

}  // namespace cbit::spec
