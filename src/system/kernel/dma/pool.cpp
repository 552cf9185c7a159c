#include "kernel/dma/pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/assert.hpp"
#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t pool_bytes_min = 128ull << 10;
constexpr std::uint64_t pool_bytes_per_gib = 128ull << 10;

// %pGg of GFP_KERNEL with the zone's modifier.
std::string_view gfp_name(GfpZone zone) {
  switch (zone) {
    case GfpZone::normal: return "GFP_KERNEL";
    case GfpZone::dma32: return "GFP_KERNEL|GFP_DMA32";
    case GfpZone::dma: return "GFP_KERNEL|GFP_DMA";
  }
  return "?";
}

// Two fixes that came to the stable series after 6.6.87 and 6.10.0: the mapping of remapped pools is
// decrypted, and a pool that is used up is told from one that is not there.
bool has_pool_fixes(KernelVersion version) {
  return version == KernelVersion::v6_1 || version >= KernelVersion::v6_12;
}

// totalram_pages() are what memblock left over, hence the free pages of the young kernel.
std::uint64_t default_pool_bytes(const PageAllocator& pages) {
  const std::uint64_t wanted = pages.free_pages() / ((std::uint64_t{1} << 30) / pool_bytes_per_gib);
  const std::uint64_t limit = std::uint64_t{1} << max_order_6_1;  // MAX_ORDER_NR_PAGES
  return std::max(std::min(wanted, limit) * page_size, pool_bytes_min);
}

// dma_atomic_pool_init(): has_managed_dma(), and since 6.19 has_managed_zone() of the other zones, too. Zones
// on x86 end at 16 MiB and at 4 GiB, and RAM begins at 0.
bool gets_pool(const DmaContext& ctx, GfpZone zone) {
  if (!ctx.cc.x86()) return false;  // CONFIG_DMA_COHERENT_POOL: selected by AMD_MEM_ENCRYPT
  if (ctx.config.version < KernelVersion::v6_19) return true;
  const PhysAddr end = ctx.mm.machine().end_of_ram();
  switch (zone) {
    case GfpZone::normal: return end > machine::high_ram;
    case GfpZone::dma32: return end.value() > bit_mask(zone_dma_bits) + 1;
    case GfpZone::dma: return true;
  }
  return true;
}

}  // namespace

// ---- GenPool ---------------------------------------------------------------------------------------------

void GenPool::add(PhysAddr first, std::uint64_t pages, VirtAddr at) {
  chunks_.push_front({first, at, std::vector<bool>(pages), pages});
}

std::optional<PoolPages> GenPool::allocate(std::uint64_t pages) {
  const std::uint64_t step = std::bit_ceil(pages);
  for (Chunk& chunk : chunks_) {
    if (pages > chunk.available) continue;
    for (std::uint64_t at = 0; at + pages <= chunk.used.size(); at += step) {
      const auto first = chunk.used.begin() + static_cast<std::ptrdiff_t>(at);
      const auto last = first + static_cast<std::ptrdiff_t>(pages);
      if (std::find(first, last, true) != last) continue;
      std::fill(first, last, true);
      chunk.available -= pages;
      return PoolPages{chunk.first + at * page_size, chunk.at + at * page_size};
    }
  }
  return std::nullopt;
}

GenPool::Chunk* GenPool::find(VirtAddr at, std::uint64_t pages) {
  for (Chunk& chunk : chunks_) {
    const std::uint64_t size = chunk.used.size();
    if (at >= chunk.at && (at - chunk.at) / page_size <= size && pages <= size - (at - chunk.at) / page_size)
      return &chunk;
  }
  return nullptr;
}

std::optional<VirtAddr> GenPool::address_of(PhysAddr page) const {
  for (const Chunk& chunk : chunks_)
    if (page >= chunk.first && (page - chunk.first) / page_size < chunk.used.size())
      return chunk.at + (page - chunk.first);
  return std::nullopt;
}

bool GenPool::free(VirtAddr at, std::uint64_t pages) {
  Chunk* const chunk = find(at, pages);
  if (chunk == nullptr) return false;
  const auto first = chunk->used.begin() + static_cast<std::ptrdiff_t>((at - chunk->at) / page_size);
  const auto end = first + static_cast<std::ptrdiff_t>(pages);
  CBIT_ASSERT(std::find(first, end, false) == end);
  std::fill(first, end, false);
  chunk->available += pages;
  return true;
}

std::uint64_t GenPool::total_bytes() const {
  std::uint64_t pages = 0;
  for (const Chunk& chunk : chunks_) pages += chunk.used.size();
  return pages * page_size;
}

std::uint64_t GenPool::available_bytes() const {
  std::uint64_t pages = 0;
  for (const Chunk& chunk : chunks_) pages += chunk.available;
  return pages * page_size;
}

// ---- AtomicPools -----------------------------------------------------------------------------------------

void AtomicPools::init(DmaContext& ctx, paging::Mmu& cpu) {
  initial_bytes_ = ctx.config.coherent_pool_bytes;
  if (initial_bytes_ == 0) initial_bytes_ = default_pool_bytes(ctx.mm.page_allocator());

  for (const GfpZone zone : {GfpZone::normal, GfpZone::dma, GfpZone::dma32}) {
    if (!gets_pool(ctx, zone)) continue;
    auto& pool = pools_[static_cast<std::size_t>(zone)].emplace();
    if (expand(ctx, cpu, pool, zone, initial_bytes_)) {
      ctx.message(cpu, [&] {
        return fmt::format("DMA: preallocated {} KiB {} pool for atomic allocations",
                           pool.total_bytes() >> 10, gfp_name(zone));
      });
      continue;
    }
    ctx.message(cpu, [&] {
      return fmt::format("DMA: failed to allocate {} KiB {} pool for atomic allocation", initial_bytes_ >> 10,
                         gfp_name(zone));
    });
    pools_[static_cast<std::size_t>(zone)].reset();
  }
}

// atomic_pool_expand
bool AtomicPools::expand(DmaContext& ctx, paging::Mmu& cpu, GenPool& pool, GfpZone zone,
                         std::uint64_t bytes) {
  unsigned order = std::min(get_order(bytes), max_order_6_1);
  auto page = alloc_pages_order(ctx.mm, order, zone);
  while (!page && order > 0) page = alloc_pages_order(ctx.mm, --order, zone);
  if (!page) return false;

  const std::uint64_t pages = std::uint64_t{1} << order;
  const paging::SiteScope site{cpu, ctx.tracer.intern("atomic_pool_expand")};
  if (!ctx.mm.set_memory_decrypted(cpu, ctx.mm.phys_to_virt(*page), pages)) {
    free_pages_order(ctx.mm, *page, order);
    return false;
  }
  VirtAddr at = ctx.mm.phys_to_virt(*page);
  if (ctx.config.direct_remap) {
    // dma_common_contiguous_remap
    std::vector<PhysAddr> frames;
    for (std::uint64_t i = 0; i < pages; ++i) frames.push_back(*page + i * page_size);
    const bool decrypted = has_pool_fixes(ctx.config.version);
    const auto alias = ctx.mm.vmap(frames, decrypted ? 0 : ctx.mm.default_selector());
    // Linux maps first and decrypts then; pages that are decrypted and cannot be mapped are leaked.
    if (!alias) return false;
    at = *alias;
  }
  pool.add(*page, pages, at);
  return true;
}

GenPool* AtomicPools::pool(GfpZone zone) {
  auto& pool = pools_[static_cast<std::size_t>(zone)];
  return pool ? &*pool : nullptr;
}

GenPool* AtomicPools::first_of(std::initializer_list<GfpZone> zones) {
  for (const GfpZone zone : zones)
    if (GenPool* const found = pool(zone)) return found;
  return nullptr;
}

// dma_guess_pool: the next pool to try after `previous`, null for the first. From 6.19 on another zone's may
// be the first.
GenPool* AtomicPools::guess(KernelVersion version, const GenPool* previous, GfpZone zone) {
  using enum GfpZone;
  if (previous == nullptr) {
    const bool any = version >= KernelVersion::v6_19;
    if (zone == dma32) return any ? first_of({dma32, dma, normal}) : pool(dma32);
    if (zone == dma) return any ? first_of({dma, dma32, normal}) : first_of({dma, normal});
    return any ? first_of({normal, dma32, dma}) : pool(normal);
  }
  if (previous == pool(normal)) return first_of({dma32, dma});
  return previous == pool(dma32) ? pool(dma) : nullptr;
}

std::optional<PoolPages> AtomicPools::allocate(DmaContext& ctx, const DmaRequest& request,
                                               std::uint64_t bytes, GfpZone zone) {
  bool found = false;
  const KernelVersion version = ctx.config.version;
  for (GenPool* pool = guess(version, nullptr, zone); pool != nullptr; pool = guess(version, pool, zone)) {
    found = true;
    const auto got = pool->allocate(pages_for(bytes));
    if (!got) continue;
    if (!dma_coherent_ok(ctx, request.dev, got->page, bytes)) {
      pool->free(got->at, pages_for(bytes));
      continue;
    }
    if (pool->available_bytes() < initial_bytes_) work_scheduled_ = true;
    const paging::SiteScope site{request.cpu, ctx.sites.pool};
    if (request.cpu.fill(got->at, bytes, std::byte{0})) return got;
    pool->free(got->at, pages_for(bytes));
    return std::nullopt;
  }
  if (!found || !has_pool_fixes(version))
    ctx.message(request.cpu,
                [&] { return fmt::format("Failed to get suitable pool for {}", request.dev.name); });
  else if (!request.attrs.has(dma_attr::no_warn))
    ctx.message(request.cpu, [&] { return fmt::format("DMA pool exhausted for {}", request.dev.name); });
  return std::nullopt;
}

std::optional<VirtAddr> AtomicPools::address_of(PhysAddr page) const {
  for (const auto& pool : pools_)
    if (pool)
      if (const auto at = pool->address_of(page)) return at;
  return std::nullopt;
}

bool AtomicPools::free(VirtAddr at, std::uint64_t bytes) {
  return std::ranges::any_of(pools_, [&](auto& pool) { return pool && pool->free(at, pages_for(bytes)); });
}

bool AtomicPools::run_worker(DmaContext& ctx, paging::Mmu& cpu) {
  if (!std::exchange(work_scheduled_, false)) return false;
  bool grew = false;
  for (const GfpZone zone : {GfpZone::dma, GfpZone::dma32, GfpZone::normal})
    if (GenPool* const grown = pool(zone); grown != nullptr && grown->available_bytes() < initial_bytes_)
      grew |= expand(ctx, cpu, *grown, zone, grown->total_bytes());
  return grew;
}

AtomicPoolSizes AtomicPools::sizes() const {
  const auto bytes = [&](GfpZone zone) {
    const auto& pool = pools_[static_cast<std::size_t>(zone)];
    return pool ? pool->total_bytes() : 0;
  };
  return {.dma = bytes(GfpZone::dma), .dma32 = bytes(GfpZone::dma32), .kernel = bytes(GfpZone::normal)};
}

}  // namespace cbit::kernel
