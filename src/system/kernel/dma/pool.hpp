// Atomic pools: coherent memory for callers that may not sleep, decrypted in advance because changing a
// page's attribute can sleep. kernel/dma/pool.c.
//
// Up to three pools (kernel, DMA, DMA32), each of 128 KiB per GiB of RAM at the start; a pool that fell below
// that is grown by a worker and never shrinks. Decrypted wherever memory is encrypted, on SME hosts too.
// Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "cbit/addr.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit::kernel {

struct DmaContext;
struct DmaRequest;

inline constexpr unsigned zone_dma_bits = 24;

// GFP zone modifiers.
enum class GfpZone : std::uint8_t { normal, dma32, dma };

// What a pool gives: its pages, and the address at which the pool knows them.
struct PoolPages {
  PhysAddr page;
  VirtAddr at;
};

// lib/genalloc.c with gen_pool_first_fit_order_align: first fit, aligned to the size rounded up to a power of
// two.
class GenPool {
 public:
  // gen_pool_add_virt: `at` is the mapping of `first` under which the pages are given out and taken back.
  void add(PhysAddr first, std::uint64_t pages, VirtAddr at);
  [[nodiscard]] std::optional<PoolPages> allocate(std::uint64_t pages);
  // Under which address the pool knows this page; nullopt: it is none of its.
  [[nodiscard]] std::optional<VirtAddr> address_of(PhysAddr page) const;
  // False when the addresses are not the pool's; those that are were allocated.
  bool free(VirtAddr at, std::uint64_t pages);
  [[nodiscard]] std::uint64_t total_bytes() const;
  [[nodiscard]] std::uint64_t available_bytes() const;

 private:
  struct Chunk {
    PhysAddr first;
    VirtAddr at;
    std::vector<bool> used;  // per page
    std::uint64_t available = 0;
  };
  [[nodiscard]] Chunk* find(VirtAddr at, std::uint64_t pages);

  std::deque<Chunk> chunks_;  // newest first
};

class AtomicPools {
 public:
  // dma_atomic_pool_init. A pool that cannot be had is left out, with the kernel's message.
  void init(DmaContext& ctx, paging::Mmu& cpu);

  // dma_alloc_from_pool: zeroed pages that dma_coherent_ok() accepts, from the pool of `zone` or one below.
  // Reports that there is no pool, or none with so much room: that unless NO_WARN, where the version tells
  // one from the other.
  [[nodiscard]] std::optional<PoolPages> allocate(DmaContext& ctx, const DmaRequest& request,
                                                  std::uint64_t bytes, GfpZone zone);
  // What allocate() gave as the address of this page; nullopt: it is in no pool.
  [[nodiscard]] std::optional<VirtAddr> address_of(PhysAddr page) const;
  // dma_free_from_pool: false where no pool knows the address.
  bool free(VirtAddr at, std::uint64_t bytes);

  // atomic_pool_work_fn, if it was scheduled. True when a pool grew.
  bool run_worker(DmaContext& ctx, paging::Mmu& cpu);

  [[nodiscard]] AtomicPoolSizes sizes() const;

 private:
  using Pools = std::array<std::optional<GenPool>, 3>;  // by GfpZone

  static bool expand(DmaContext& ctx, paging::Mmu& cpu, GenPool& pool, GfpZone zone, std::uint64_t bytes);
  [[nodiscard]] GenPool* pool(GfpZone zone);
  [[nodiscard]] GenPool* first_of(std::initializer_list<GfpZone> zones);
  [[nodiscard]] GenPool* guess(KernelVersion version, const GenPool* previous, GfpZone zone);

  Pools pools_;
  std::uint64_t initial_bytes_ = 0;
  bool work_scheduled_ = false;
};

}  // namespace cbit::kernel
