// Which Linux the model kernel behaves like, and how it uses an IOMMU.
#pragma once

#include <cstdint>
#include <string_view>

namespace cbit {

// Rules that differ between versions ask this and nothing else; versions are in order. `next` is 6.10 with
// the changes to DMA mapping, dma-buf heaps and RDMA queued in 2026 (dma-mapping-for-next, rdma for-next).
enum class KernelVersion : std::uint8_t { v6_1, v6_6, v6_10, next };

[[nodiscard]] constexpr std::string_view to_string(KernelVersion version) {
  switch (version) {
    case KernelVersion::v6_1: return "6.1";
    case KernelVersion::v6_6: return "6.6";
    case KernelVersion::v6_10: return "6.10";
    case KernelVersion::next: return "next";
  }
  return "?";
}

// The type of the IOMMU's default domain; none: there is no IOMMU.
enum class IommuMode : std::uint8_t { none, passthrough, translated };

}  // namespace cbit
