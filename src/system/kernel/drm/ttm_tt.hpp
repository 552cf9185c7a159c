// struct ttm_tt: the system pages of a graphics buffer, and who decides how the CPU maps them.
// drivers/gpu/drm/ttm/ttm_tt.c, include/drm/ttm/ttm_tt.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cbit/gpu_policy.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit::kernel {

// The largest block that TTM asks for: MAX_ORDER - 1.
inline constexpr unsigned ttm_order_max = max_order_6_1;

// ttm_cached, ttm_write_combined, ttm_uncached in the words of debugfs and traces.
[[nodiscard]] constexpr std::string_view ttm_caching_name(paging::PageCaching caching) {
  return caching == paging::PageCaching::write_back ? "cached" : to_string(caching);
}

// 2^order contiguous pages as they were allocated.
struct TtmBlock {
  PhysAddr first;
  unsigned order = 0;
  std::optional<CoherentBuffer> coherent;  // ttm_pool_dma: from dma_alloc_attrs()

  [[nodiscard]] std::uint64_t pages() const { return std::uint64_t{1} << order; }
};

struct TtmTt {
  std::uint64_t num_pages = 0;
  paging::PageCaching caching = paging::PageCaching::write_back;
  bool zero_alloc = false;  // TTM_TT_FLAG_ZERO_ALLOC
  bool decrypted = false;   // TTM_TT_FLAG_DECRYPTED
  bool dma_mapped =
      true;  // it has a dma_address array; false (ttm_tt_init): the driver maps the pages itself
  bool populated = false;              // TTM_TT_FLAG_PRIV_POPULATED
  std::vector<TtmBlock> blocks;        // in the order of `pages`
  std::vector<PhysAddr> pages;         // empty unless populated
  std::vector<DmaAddr> dma_address;    // one per page; empty unless populated and dma_mapped
  std::vector<PhysAddr> swap_storage;  // the shmem file's pages; empty unless swapped out

  [[nodiscard]] bool swapped() const { return !swap_storage.empty(); }  // TTM_TT_FLAG_SWAPPED
};

}  // namespace cbit::kernel
