// The kernel's pages: zones DMA (16 MiB), DMA32 (4 GiB) and NORMAL, contiguous runs, contents not cleared.
//
// A run is taken from the highest zone that its limit allows and falls back to lower ones, as GFP zone
// modifiers do; within a zone from the bottom up, so that runs are predictable. The first MiB is never given
// out, as Linux keeps it for the firmware (arch/x86/realmode/init.c). Only what was handed out or returned
// costs memory, so a machine of 1 TiB is as cheap as one of 1 GiB.
// Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "cbit/addr.hpp"
#include "kernel/mm/page_runs.hpp"
#include "mem/memory.hpp"

namespace cbit::kernel {

// The pages that hold so many bytes.
[[nodiscard]] constexpr std::uint64_t pages_for(std::uint64_t bytes) {
  return align_up(bytes, page_size) / page_size;
}

inline constexpr unsigned max_order_6_1 = 10;  // the largest buddy block: 2^10 pages = 4 MiB

class PageAllocator {
 public:
  explicit PageAllocator(const std::vector<mem::PhysRange>& ram);

  // `pages` contiguous pages whose last byte is at or below `limit`, aligned to `align_pages` (a power of
  // two). A run lies in one zone. nullopt when there is none, and for 0 pages.
  [[nodiscard]] std::optional<PhysAddr> allocate(std::uint64_t pages, std::uint64_t limit = ~std::uint64_t{0},
                                                 std::uint64_t align_pages = 1);
  // Takes a given run, for experiments that name an address; false when part of it is in use or no page of
  // ours.
  [[nodiscard]] bool allocate_at(PhysAddr first, std::uint64_t pages);
  // CBIT_ASSERTs that the run is in use: frees come from the kernel, not from a guest's input.
  void free(PhysAddr first, std::uint64_t pages);

  [[nodiscard]] std::uint64_t free_pages() const;
  [[nodiscard]] std::uint64_t total_pages() const { return managed_.size(); }

 private:
  struct Zone {
    std::uint64_t first, end;  // page numbers
    PageRuns free;
  };
  // Calls back for each zone with the part of the run that lies in it.
  template <class Visit>
  void for_each_part(std::uint64_t first, std::uint64_t pages, Visit&& visit);

  PageRuns managed_;
  std::array<Zone, 3> zones_;  // DMA, DMA32, NORMAL
};

}  // namespace cbit::kernel
