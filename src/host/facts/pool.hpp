// The bounce pool's counters (debugfs, Linux 6.1: kernel/dma/swiotlb.c, swiotlb_create_debugfs_files()).
#pragma once

#include <cstdint>
#include <optional>

#include "facts/host_tree.hpp"

namespace cbit::facts {

inline constexpr std::string_view swiotlb_debugfs = "/sys/kernel/debug/swiotlb";

// In slots of 2 KiB.
struct PoolCounters {
  Read<std::uint64_t> nslabs = tl::unexpected{Unread::absent};  // io_tlb_nslabs
  Read<std::uint64_t> used = tl::unexpected{Unread::absent};    // io_tlb_used
  // io_tlb_used_hiwater [6.6]. Absent where it is 0: Linux 7.3 counts with swiotlb=track_hiwater only.
  Read<std::uint64_t> hiwater = tl::unexpected{Unread::absent};
};
[[nodiscard]] PoolCounters read_pool(const HostTree& tree);

}  // namespace cbit::facts
