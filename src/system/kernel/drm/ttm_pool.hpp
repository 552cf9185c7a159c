// ttm_pool: where a ttm_tt gets its pages from and what becomes of them. drivers/gpu/drm/ttm/ttm_pool.c.
//
// With use_dma_alloc each block is a coherent allocation, and its DMA address is kept. Otherwise it comes
// from alloc_pages(), and a tt with a dma_address array maps it once with dma_map_page(DMA_BIDIRECTIONAL), to
// be synced by nobody. Pages that come back are cleared through the direct map and wait on a shelf by caching
// and order: all of them with use_dma_alloc, else those that are not cached. Changing the caching of the
// direct map costs flushes, which is why there are shelves at all. What no tt of ours ever had is not
// cleared: Linux does that for user space's buffers only (zero_alloc).
//
// The shelves of uncached pages are global in Linux and the pool's own here.
// Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel/drm/ttm_tt.hpp"
#include "kernel/kernel.hpp"

namespace cbit::kernel {

class TtmPool {
 public:
  // `dev` is used for DMA and outlives the pool, as `kernel` does.
  TtmPool(Kernel& kernel, Device& dev, bool use_dma_alloc, bool use_dma32);
  // Everything that was taken was given back.
  ~TtmPool();

  [[nodiscard]] bool use_dma_alloc() const { return use_dma_alloc_; }
  [[nodiscard]] bool use_dma32() const { return use_dma32_; }

  // ttm_pool_alloc: fills pages, blocks and dma_address of a tt that has none. Errors leave it so: -ENOMEM,
  // -EFAULT when a block could not be mapped.
  Result<void, Errno> alloc(paging::Mmu& cpu, TtmTt& tt);
  // ttm_pool_free
  void free(paging::Mmu& cpu, TtmTt& tt);

  [[nodiscard]] std::uint64_t pages_on_shelves() const { return on_shelves_; }
  // Blocks that an alloc() found on a shelf.
  [[nodiscard]] std::uint64_t blocks_reused() const { return reused_; }

 private:
  using Shelf = std::vector<TtmBlock>;  // the last one given is the first one taken
  using Shelves = std::array<std::array<Shelf, ttm_order_max + 1>, 3>;

  // nullptr: such blocks are freed.
  [[nodiscard]] Shelf* select(paging::PageCaching caching, unsigned order);
  std::optional<TtmBlock> alloc_block(paging::Mmu& cpu, unsigned order, bool zero);
  void free_block(paging::Mmu& cpu, paging::PageCaching caching, const TtmBlock& block);
  std::optional<TtmBlock> take(Shelf& shelf);
  void give(paging::Mmu& cpu, Shelf& shelf, const TtmBlock& block);
  bool shrink(paging::Mmu& cpu);

  // An alloc() under way.
  struct Filling {
    paging::Mmu& cpu;
    TtmTt& tt;
    std::uint64_t left = 0;           // pages
    std::size_t blocks_finished = 0;  // these blocks have the tt's caching, the rest are cached
  };
  Result<void, Errno> take_blocks(Filling& filling, unsigned order);
  Result<void, Errno> alloc_blocks(Filling& filling, unsigned order);
  Result<void, Errno> add(Filling& filling, const TtmBlock& block, paging::PageCaching caching);
  Result<void, Errno> apply_caching(Filling& filling);
  // ttm_pool_free_range, by blocks.
  void free_range(paging::Mmu& cpu, TtmTt& tt, paging::PageCaching caching, std::size_t first,
                  std::size_t end);

  Kernel* kernel_;
  Device* dev_;
  bool use_dma_alloc_;
  bool use_dma32_;
  SiteId give_site_;
  Shelves shelves_;
  std::uint64_t on_shelves_ = 0;
  std::uint64_t page_pool_size_;
  std::uint64_t reused_ = 0;
};

}  // namespace cbit::kernel
