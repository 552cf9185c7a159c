// Memory that dma-direct allocates: kernel/dma/direct.c from dma_direct_optimal_gfp_mask to dma_direct_mmap.
#include <fmt/format.h>

#include <bit>

#include "base/assert.hpp"
#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

using Source = CoherentAllocation::Source;

constexpr std::string_view source_alloc = "kernel/dma/direct.c: dma_direct_alloc";
constexpr std::string_view source_alloc_pages = "kernel/dma/direct.c: dma_direct_alloc_pages";

std::string_view zone_name(GfpZone zone) {
  switch (zone) {
    case GfpZone::normal: return "any zone";
    case GfpZone::dma32: return "ZONE_DMA32";
    case GfpZone::dma: return "ZONE_DMA";
  }
  return "?";
}

GfpZone dma_direct_optimal_gfp_mask(DmaContext& ctx, const DmaRequest& request, std::uint64_t& phys_limit) {
  phys_limit = dma_to_phys(ctx, DmaAddr{request.dev.limit(request.dev.coherent_dma_mask)}).value();
  GfpZone zone = GfpZone::normal;
  if (phys_limit <= bit_mask(zone_dma_bits))
    zone = GfpZone::dma;
  else if (phys_limit <= bit_mask(32))
    zone = GfpZone::dma32;
  ctx.step(request.cpu, "kernel/dma/direct.c: dma_direct_optimal_gfp_mask", [&] {
    return fmt::format("the coherent mask reaches physical {:#x}: pages from {}", phys_limit,
                       zone_name(zone));
  });
  return zone;
}

bool dma_coherent_ok_step(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, std::uint64_t bytes) {
  const bool ok = dma_coherent_ok(ctx, request.dev, phys, bytes);
  ctx.step(request.cpu, "kernel/dma/direct.c: dma_coherent_ok", [&] {
    return fmt::format("{:#x} + {} - 1 within the coherent mask {:#x}: {}",
                       phys_to_dma_direct(ctx, request.dev, phys).value(), bytes,
                       request.dev.limit(request.dev.coherent_dma_mask), ok);
  });
  return ok;
}

// Up to 7.2 slots of a restricted pool are converted as pages are: to what they are already, and on free to
// encrypted memory, while the pool still uses them.
bool converts(const DmaContext& ctx, const Device& dev) {
  return ctx.cc.force_dma_unencrypted(dev) &&
         !(is_swiotlb_for_alloc(dev) && ctx.config.version >= KernelVersion::v7_3);
}

int dma_set_decrypted(DmaContext& ctx, const DmaRequest& request, VirtAddr at, std::uint64_t bytes) {
  if (!converts(ctx, request.dev)) return 0;
  const paging::SiteScope site{request.cpu, ctx.sites.alloc};
  return ctx.mm.set_memory_decrypted(request.cpu, at, bytes / page_size) ? 0 : -1;
}

int dma_set_encrypted(DmaContext& ctx, paging::Mmu& cpu, const Device& dev, VirtAddr at,
                      std::uint64_t bytes) {
  if (!converts(ctx, dev)) return 0;
  if (ctx.mm.set_memory_encrypted(cpu, at, bytes / page_size)) return 0;
  ctx.message(cpu, [] { return std::string{"leaking DMA memory that can't be re-encrypted"}; });
  return -1;
}

std::optional<PhysAddr> dma_direct_alloc_swiotlb(DmaContext& ctx, const DmaRequest& request,
                                                 std::uint64_t bytes) {
  Swiotlb& pool = *request.dev.restricted_pool;
  if (ctx.config.version >= KernelVersion::v7_3 &&
      pool.cc_shared() != ctx.cc.force_dma_unencrypted(request.dev))
    return ctx.fail_empty(request, DmaFailure::pool_not_private);
  const auto page = pool.alloc(request.cpu, request.dev, bytes);
  if (!page) return ctx.fail_empty(request, DmaFailure::pool_full);
  if (dma_coherent_ok_step(ctx, request, *page, bytes)) return page;
  pool.free(request.cpu, request.dev, *page, bytes);
  ctx.fail(request, DmaFailure::coherent_mask, request.dev.limit(request.dev.coherent_dma_mask));
  return std::nullopt;
}

// __dma_direct_alloc_pages
std::optional<PhysAddr> dma_direct_get_pages(DmaContext& ctx, const DmaRequest& request,
                                             std::uint64_t bytes) {
  if (is_swiotlb_for_alloc(request.dev)) return dma_direct_alloc_swiotlb(ctx, request, bytes);

  std::uint64_t phys_limit = 0;
  GfpZone zone = dma_direct_optimal_gfp_mask(ctx, request, phys_limit);
  const unsigned order = get_order(bytes);
  for (;;) {
    const auto page = alloc_pages_order(ctx.mm, order, zone);
    if (!page) return ctx.fail_empty(request, DmaFailure::no_memory);
    if (dma_coherent_ok_step(ctx, request, *page, bytes)) return page;
    free_pages_order(ctx.mm, *page, order);

    if (zone == GfpZone::normal && phys_limit < bit_mask(64))
      zone = GfpZone::dma32;
    else if (zone != GfpZone::dma)
      zone = GfpZone::dma;
    else
      break;
  }
  ctx.fail(request, DmaFailure::coherent_mask, request.dev.limit(request.dev.coherent_dma_mask));
  return std::nullopt;
}

bool dma_direct_use_pool(const Device& dev, bool atomic) { return atomic && !is_swiotlb_for_alloc(dev); }

CoherentBuffer allocated(DmaContext& ctx, const DmaRequest& request, Source source, VirtAddr at,
                         PhysAddr phys, std::uint64_t bytes) {
  const DmaAddr dma = phys_to_dma_direct(ctx, request.dev, phys);
  ctx.step(request.cpu, source_alloc, [&] {
    if (ctx.cc.key_id_mask() != 0)
      return fmt::format("the DMA address is {:#x}, with {}", dma.value(), encryption_bits_text(ctx, dma));
    if (ctx.me_mask == 0) return fmt::format("the DMA address is {:#x}", dma.value());
    return fmt::format("the DMA address is {:#x}, {}", dma.value(),
                       (dma.value() & ctx.me_mask) != 0 ? "with the C-bit" : "without C-bit");
  });
  ctx.coherent.insert_or_assign(at, CoherentAllocation{source, &request.dev, dma, bytes, {phys}});
  return {at, dma, request.bytes};
}

std::optional<PoolPages> dma_direct_alloc_from_pool(DmaContext& ctx, const DmaRequest& request,
                                                    std::uint64_t bytes, std::string_view source) {
  if (!ctx.cc.x86()) {  // no CONFIG_DMA_COHERENT_POOL
    ctx.warning_once(Once::no_coherent_pool, request.cpu, "kernel/dma/direct.c",
                     "dma_direct_alloc_from_pool");
    return ctx.fail_empty(request, DmaFailure::atomic_pool_empty);
  }
  ctx.step(request.cpu, source, [] {
    return std::string{"decrypting may sleep and the caller may not: memory from an atomic pool"};
  });
  std::uint64_t phys_limit = 0;
  const GfpZone zone = dma_direct_optimal_gfp_mask(ctx, request, phys_limit);
  const auto got = ctx.atomic_pools.allocate(ctx, request, bytes, zone);
  if (!got) ctx.fail(request, DmaFailure::atomic_pool_empty);
  return got;
}

std::optional<CoherentBuffer> dma_direct_alloc_no_mapping(DmaContext& ctx, const DmaRequest& request,
                                                          std::uint64_t bytes) {
  const auto page = dma_direct_get_pages(ctx, request, bytes);
  if (!page) return std::nullopt;
  return allocated(ctx, request, Source::no_mapping, ctx.mm.phys_to_page(*page), *page, bytes);
}

void step_decrypted(DmaContext& ctx, const DmaRequest& request, bool unencrypted) {
  const std::string_view source = ctx.cc.x86()
                                      ? "arch/x86/mm/mem_encrypt.c: force_dma_unencrypted"
                                      : "arch/powerpc/include/asm/mem_encrypt.h: force_dma_unencrypted";
  ctx.step(request.cpu, source, [&] {
    const std::uint64_t limit = request.dev.limit(request.dev.coherent_dma_mask);
    if (request.dev.accepted) return std::string{"the guest has accepted the device: memory stays private"};
    if (ctx.cc.shares_all_dma())
      return std::string{"encrypted guest: memory for coherent DMA is made shared"};
    if (ctx.cc.key_id_mask() != 0)
      return fmt::format("the coherent mask {:#x} {} all KeyID bits; coherent memory is KeyID 0's", limit,
                         unencrypted ? "does not reach" : "reaches");
    if (ctx.me_mask == 0) return std::string{"memory is not encrypted: nothing to decrypt"};
    return fmt::format("the coherent mask {:#x} {} the C-bit ({}): memory is {}", limit,
                       unencrypted ? "does not reach" : "reaches", std::countr_zero(ctx.me_mask),
                       unencrypted ? "decrypted" : "left encrypted");
  });
}

// Pages that the device may have, zeroed. `told`: a failed conversion is a message.
std::optional<PhysAddr> dma_direct_get_zeroed(DmaContext& ctx, const DmaRequest& request, std::uint64_t bytes,
                                              bool told) {
  const auto page = dma_direct_get_pages(ctx, request, bytes);
  if (!page) return std::nullopt;
  const VirtAddr at = ctx.mm.phys_to_virt(*page);
  // A failed conversion leaks the pages on purpose: nobody knows any more who can read them.
  if (dma_set_decrypted(ctx, request, at, bytes) != 0) {
    if (told)
      ctx.message(request.cpu, [] { return std::string{"leaking DMA memory that can't be decrypted"}; });
    return ctx.fail_empty(request, DmaFailure::conversion_failed);
  }
  // After the attribute change, so that the shared view reads zeros.
  const paging::SiteScope site{request.cpu, ctx.sites.alloc};
  if (!request.cpu.fill(at, bytes, std::byte{0})) return ctx.fail_empty(request, DmaFailure::no_memory);
  return page;
}

Source source_of_pages(const Device& dev) {
  return is_swiotlb_for_alloc(dev) ? Source::restricted_pool : Source::pages;
}

// "dma-direct: return struct page from dma_direct_alloc_from_pool" (6.1.192, 6.12.111, 7.2.6, 7.3).
bool pool_gives_struct_page(KernelVersion version) {
  return version == KernelVersion::v6_1 || version == KernelVersion::v6_12 || version >= KernelVersion::v7_2;
}

DmaPages pages_allocated(DmaContext& ctx, const DmaRequest& request, Source source, VirtAddr page,
                         PhysAddr phys) {
  const DmaAddr dma = phys_to_dma_direct(ctx, request.dev, phys);
  ctx.step(request.cpu, source_alloc_pages, [&] {
    return fmt::format("returns {:#x} as the struct page of {:#x}; the DMA address is {:#x}", page.value(),
                       phys.value(), dma.value());
  });
  ctx.pages.insert_or_assign(page, CoherentAllocation{source, &request.dev, dma, request.bytes, {phys}});
  return {page, dma, request.bytes};
}

// dma_free_from_pool(), and from 7.3 on dma_free_from_pool_page(), which looks for the chunk by the page's
// physical address.
bool free_from_pool(DmaContext& ctx, VirtAddr at, const CoherentAllocation& allocation) {
  if (ctx.config.version >= KernelVersion::v7_3)
    at = ctx.atomic_pools.address_of(allocation.pages.front()).value_or(at);
  return ctx.atomic_pools.free(at, allocation.bytes);
}

}  // namespace

unsigned get_order(std::uint64_t bytes) {
  return static_cast<unsigned>(std::bit_width((bytes - 1) / page_size));
}

std::optional<PhysAddr> alloc_pages_order(Mm& mm, unsigned order, GfpZone zone) {
  if (order > max_order_6_1) return std::nullopt;
  const std::uint64_t pages = std::uint64_t{1} << order;
  switch (zone) {
    case GfpZone::normal: return mm.page_allocator().allocate(pages, ~std::uint64_t{0}, pages);
    case GfpZone::dma32: return mm.page_allocator().allocate(pages, bit_mask(32), pages);
    case GfpZone::dma: return mm.page_allocator().allocate(pages, bit_mask(zone_dma_bits), pages);
  }
  return std::nullopt;
}

void free_pages_order(Mm& mm, PhysAddr first, unsigned order) {
  mm.page_allocator().free(first, std::uint64_t{1} << order);
}

std::optional<CoherentBuffer> dma_direct_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                               std::uint64_t bytes, bool atomic, DmaAttrs attrs) {
  const DmaRequest request = coherent_request(cpu, dev, bytes, attrs);
  const std::uint64_t size = align_up(bytes, page_size);
  if (size == 0) return ctx.fail_empty(request, DmaFailure::invalid_size);

  const bool unencrypted = ctx.cc.force_dma_unencrypted(dev);
  step_decrypted(ctx, request, unencrypted);
  if (attrs.has(dma_attr::no_kernel_mapping) && !unencrypted && !is_swiotlb_for_alloc(dev))
    return dma_direct_alloc_no_mapping(ctx, request, size);
  if (unencrypted && dma_direct_use_pool(dev, atomic)) {
    const auto got = dma_direct_alloc_from_pool(ctx, request, size, source_alloc);
    if (!got) return std::nullopt;
    return allocated(ctx, request, Source::atomic_pool, got->at, got->page, size);
  }
  const auto page = dma_direct_get_zeroed(ctx, request, size, false);
  if (!page) return std::nullopt;
  return allocated(ctx, request, source_of_pages(dev), ctx.mm.phys_to_virt(*page), *page, size);
}

void dma_direct_free(DmaContext& ctx, paging::Mmu& cpu, VirtAddr at, const CoherentAllocation& allocation) {
  Device& dev = *allocation.dev;
  const PhysAddr page = allocation.pages.front();
  switch (allocation.source) {
    case Source::no_mapping: return free_pages_order(ctx.mm, page, get_order(allocation.bytes));
    case Source::atomic_pool: {
      const bool is_ours = ctx.atomic_pools.free(at, allocation.bytes);
      CBIT_ASSERT(is_ours);  // it is what allocate() gave
      return;
    }
    default: break;
  }
  if (dma_set_encrypted(ctx, cpu, dev, at, allocation.bytes) != 0) return;
  if (allocation.source == Source::restricted_pool)
    dev.restricted_pool->free(cpu, dev, page, allocation.bytes);
  else
    free_pages_order(ctx.mm, page, get_order(allocation.bytes));
}

std::optional<DmaPages> dma_direct_alloc_pages(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                               std::uint64_t bytes, bool atomic) {
  const DmaRequest request = coherent_request(cpu, dev, bytes, {});
  const bool unencrypted = ctx.cc.force_dma_unencrypted(dev);
  step_decrypted(ctx, request, unencrypted);
  if (unencrypted && dma_direct_use_pool(dev, atomic)) {
    const auto got = dma_direct_alloc_from_pool(ctx, request, bytes, source_alloc_pages);
    if (!got) return std::nullopt;
    const VirtAddr page =
        pool_gives_struct_page(ctx.config.version) ? ctx.mm.phys_to_page(got->page) : got->at;
    return pages_allocated(ctx, request, Source::atomic_pool, page, got->page);
  }
  const auto page = dma_direct_get_zeroed(ctx, request, bytes, ctx.config.version >= KernelVersion::v7_3);
  if (!page) return std::nullopt;
  return pages_allocated(ctx, request, source_of_pages(dev), ctx.mm.phys_to_page(*page), *page);
}

// Memory of an atomic pool that is not recognized by its address goes to the page allocator: up to 7.2 that
// of a pool which is mapped elsewhere (CONFIG_DMA_DIRECT_REMAP). Linux frees its whole order, the model the
// pages themselves.
void dma_direct_free_pages(DmaContext& ctx, paging::Mmu& cpu, VirtAddr page,
                           const CoherentAllocation& allocation) {
  Device& dev = *allocation.dev;
  const VirtAddr at = ctx.mm.page_address(page);
  if (free_from_pool(ctx, at, allocation)) return;
  if (dma_set_encrypted(ctx, cpu, dev, at, allocation.bytes) != 0) return;
  const PhysAddr first = allocation.pages.front();
  if (allocation.source == Source::restricted_pool)
    dev.restricted_pool->free(cpu, dev, first, allocation.bytes);
  else if (allocation.source == Source::atomic_pool)
    ctx.mm.page_allocator().free(first, pages_for(allocation.bytes));
  else
    free_pages_order(ctx.mm, first, get_order(allocation.bytes));
}

// dma_pgprot() and pgprot_decrypted(): as in the kernel's own mapping.
bool dma_direct_mmap_encrypted(const DmaContext& ctx, const Device& dev) {
  return ctx.cc.has(CcAttr::mem_encrypt) && !ctx.cc.force_dma_unencrypted(dev);
}

Result<VirtAddr, Errno> dma_direct_mmap(DmaContext& ctx, UserSpace& user,
                                        const CoherentAllocation& allocation, std::uint64_t pages) {
  const bool decrypted = ctx.cc.force_dma_unencrypted(*allocation.dev);
  const bool encrypted = dma_direct_mmap_encrypted(ctx, *allocation.dev);
  ctx.step(user.mmu(), "kernel/dma/direct.c: dma_direct_mmap", [&] {
    return std::string{decrypted ? "forced unencrypted: pgprot_decrypted, as in the kernel's own mapping"
                                 : "the default user protection, as in the kernel's own mapping"};
  });
  const auto at = user.remap_pfn_range(dma_to_phys(ctx, allocation.dma), pages, encrypted ? 1 : 0);
  if (!at) return tl::unexpected{Errno::enomem};
  return *at;
}

}  // namespace cbit::kernel
