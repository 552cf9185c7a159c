// Vocabulary of the DMA API that events, the model kernel and the command share.
// Values are those of Linux: include/linux/dma-direction.h, include/linux/dma-mapping.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "cbit/words.hpp"

namespace cbit {

enum class DmaDirection : std::uint8_t { bidirectional = 0, to_device = 1, from_device = 2, none = 3 };

// Those that a mapping can have.
inline constexpr Word<DmaDirection> dma_direction_words[] = {{"to-device", DmaDirection::to_device},
                                                             {"from-device", DmaDirection::from_device},
                                                             {"bidirectional", DmaDirection::bidirectional}};

[[nodiscard]] constexpr std::string_view to_string(DmaDirection direction) {
  return direction == DmaDirection::none ? "none" : word_of(dma_direction_words, direction);
}

// Which way a mapping took. `error` is a mapping that failed.
enum class DmaPath : std::uint8_t { direct, swiotlb, iommu, error };

inline constexpr Word<DmaPath> dma_path_words[] = {{"direct", DmaPath::direct},
                                                   {"swiotlb", DmaPath::swiotlb},
                                                   {"iommu", DmaPath::iommu},
                                                   {"error", DmaPath::error}};

[[nodiscard]] constexpr std::string_view to_string(DmaPath path) { return word_of(dma_path_words, path); }

// What kind of call made a mapping; dma-debug calls these the entry's type.
enum class DmaMappingKind : std::uint8_t { single, page, sg, coherent, resource };

// DMA_ATTR_*: a bit set.
struct DmaAttrs {
  std::uint64_t bits = 0;

  [[nodiscard]] constexpr bool has(DmaAttrs other) const { return (bits & other.bits) != 0; }
  friend constexpr DmaAttrs operator|(DmaAttrs a, DmaAttrs b) { return {a.bits | b.bits}; }
  friend constexpr DmaAttrs operator&(DmaAttrs a, DmaAttrs b) { return {a.bits & b.bits}; }
  friend constexpr bool operator==(DmaAttrs, DmaAttrs) = default;
};

namespace dma_attr {
inline constexpr DmaAttrs weak_ordering{1u << 1};
inline constexpr DmaAttrs write_combine{1u << 2};
inline constexpr DmaAttrs no_kernel_mapping{1u << 4};
inline constexpr DmaAttrs skip_cpu_sync{1u << 5};
inline constexpr DmaAttrs force_contiguous{1u << 6};
inline constexpr DmaAttrs alloc_single_pages{1u << 7};
inline constexpr DmaAttrs no_warn{1u << 8};
inline constexpr DmaAttrs privileged{1u << 9};
// From Linux 6.18 on, the others from 7.1 on; earlier kernels refuse them.
inline constexpr DmaAttrs mmio{1u << 10};              // not RAM: no struct page, no caches
inline constexpr DmaAttrs require_coherent{1u << 12};  // fail rather than bounce
inline constexpr DmaAttrs cc_shared{1u << 13};         // the caller has decrypted the pages already
}  // namespace dma_attr

inline constexpr Word<DmaAttrs> dma_attr_words[] = {
    {"skip-cpu-sync", dma_attr::skip_cpu_sync},
    {"no-warn", dma_attr::no_warn},
    {"weak-ordering", dma_attr::weak_ordering},
    {"write-combine", dma_attr::write_combine},
    {"force-contiguous", dma_attr::force_contiguous},
    {"alloc-single-pages", dma_attr::alloc_single_pages},
    {"no-kernel-mapping", dma_attr::no_kernel_mapping},
    {"privileged", dma_attr::privileged},
    {"mmio", dma_attr::mmio},
    {"require-coherent", dma_attr::require_coherent},
    {"cc-shared", dma_attr::cc_shared},
};

}  // namespace cbit
