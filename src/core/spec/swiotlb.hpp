// SWIOTLB's numbers. include/linux/swiotlb.h, kernel/dma/swiotlb.c.
#pragma once

#include <cstdint>

#include "cbit/kernel_config.hpp"

namespace cbit::spec {

inline constexpr unsigned io_tlb_shift = 11;
inline constexpr std::uint64_t io_tlb_size = 1u << io_tlb_shift;
inline constexpr std::uint64_t io_tlb_segsize = 128;
inline constexpr std::uint64_t io_tlb_default_size = 64ull << 20;
inline constexpr std::uint64_t io_tlb_min_slabs = 512;

// The slots that so many bytes take, of any number: no sum overflows.
[[nodiscard]] constexpr std::uint64_t nr_slots(std::uint64_t bytes) {
  return bytes / io_tlb_size + (bytes % io_tlb_size != 0);
}

// CONFIG_SWIOTLB_DYNAMIC came with 6.6.
[[nodiscard]] constexpr bool has_dynamic_swiotlb(KernelVersion version) {
  return version >= KernelVersion::v6_6;
}

}  // namespace cbit::spec
