// The kernel's pages: zones DMA (16 MiB), DMA32 (4 GiB) and NORMAL, contiguous runs, contents not cleared.
//
// A run is taken from the highest zone that its limit allows and falls back to lower ones, as GFP zone modifiers do.
// Only pages that were handed out or returned cost memory, so a machine of 1 TiB is as cheap as one of 1 GiB.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/addr.hpp"
#include "mem/memory.hpp"

namespace cbit {

inline constexpr unsigned max_order_6_1 = 10;  // the largest buddy block: 2^10 pages = 4 MiB

class PageAllocator {
 public:
  explicit PageAllocator(std::vector<PhysRange> ram);

  // `pages` contiguous pages that end at or below `limit`, aligned to `align_pages` (a power of two).
  // NORMAL and DMA32 are used from the bottom up, so that runs are predictable.
  [[nodiscard]] std::optional<PhysAddr> allocate(std::uint64_t pages, std::uint64_t limit = ~std::uint64_t{0},
                                                 std::uint64_t align_pages = 1);
  // Takes a given run, for experiments that name an address; false when part of it is in use.
  [[nodiscard]] bool allocate_at(PhysAddr first, std::uint64_t pages);
  // CBIT_ASSERTs that the run is in use: frees come from the kernel, not from a guest's input.
  void free(PhysAddr first, std::uint64_t pages);

  [[nodiscard]] std::uint64_t free_pages() const;
  [[nodiscard]] std::uint64_t total_pages() const;

 private:
  std::vector<std::map<std::uint64_t, std::uint64_t>> zones_;  // DMA, DMA32, NORMAL: first page -> pages
  std::uint64_t total_pages_ = 0;
};

}  // namespace cbit
