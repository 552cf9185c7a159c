// Coherent memory behind an IOMMU: drivers/iommu/dma-iommu.c, __iommu_dma_alloc_pages and iommu_dma_alloc to
// iommu_dma_mmap. It is never decrypted: CPU and device both see it under the key, the device through the
// IOMMU.
#include <fmt/format.h>

#include <bit>

#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

using Source = CoherentAllocation::Source;

constexpr std::string_view source_iommu_alloc = "drivers/iommu/dma-iommu.c: iommu_dma_alloc";

// PAGE_KERNEL and the default user protection: encrypted where memory is.
mem::KeySelector kernel_selector(const DmaContext& ctx) { return ctx.cc.has(CcAttr::mem_encrypt) ? 1 : 0; }

void free_scattered(Mm& mm, const std::vector<PhysAddr>& pages) {
  for (const PhysAddr page : pages) mm.page_allocator().free(page, 1);
}

// __iommu_dma_alloc_pages: the largest blocks that fit, single pages where there is nothing better.
std::optional<std::vector<PhysAddr>> alloc_scattered(Mm& mm, std::uint64_t count, bool single_pages) {
  if (count > mm.page_allocator().total_pages()) return std::nullopt;
  std::vector<PhysAddr> pages;
  pages.reserve(count);
  while (pages.size() < count) {
    const std::uint64_t left = count - pages.size();
    unsigned order =
        single_pages ? 0 : std::min(static_cast<unsigned>(std::bit_width(left)) - 1, max_order_6_1);
    auto block = alloc_pages_order(mm, order, GfpZone::normal);
    while (!block && order > 0) block = alloc_pages_order(mm, --order, GfpZone::normal);
    if (!block) {
      free_scattered(mm, pages);
      return std::nullopt;
    }
    for (std::uint64_t i = 0; i < std::uint64_t{1} << order; ++i) pages.push_back(*block + i * page_size);
  }
  return pages;
}

// Zeroes pages, as __GFP_ZERO does, through the direct map.
bool clear_pages(DmaContext& ctx, paging::Mmu& cpu, std::span<const PhysAddr> pages) {
  const paging::SiteScope site{cpu, ctx.sites.alloc};
  for (const PhysAddr page : pages)
    if (!cpu.fill(ctx.mm.phys_to_virt(page), page_size, std::byte{0})) return false;
  return true;
}

// iommu_dma_alloc_remap: scattered pages, contiguous for the device and, through vmap, for the kernel.
std::optional<CoherentBuffer> iommu_dma_alloc_remap(DmaContext& ctx, const DmaRequest& request,
                                                    std::uint64_t size) {
  auto pages = alloc_scattered(ctx.mm, size / page_size, request.attrs.has(dma_attr::alloc_single_pages));
  if (!pages) return ctx.fail_empty(request, DmaFailure::no_memory);
  const auto give_up = [&](DmaFailure reason) {
    free_scattered(ctx.mm, *pages);
    return ctx.fail_empty(request, reason);
  };
  if (!clear_pages(ctx, request.cpu, *pages)) return give_up(DmaFailure::no_memory);

  std::vector<mem::PhysRange> pieces;
  pieces.reserve(pages->size());
  for (const PhysAddr page : *pages) pieces.push_back({page, page_size});
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  const auto iova = iommu_dma::alloc_iova(ctx, request, size, request.dev.coherent_dma_mask);
  if (!iova) return give_up(DmaFailure::iova_exhausted);
  IommuDmaDomain& domain = *request.dev.iommu;
  const bool mapped = iommu_dma::map_pieces(ctx, request.dev, *iova, pieces, {.read = true, .write = true});
  const auto at =
      mapped ? ctx.mm.vmap(*pages, kernel_selector(ctx)) : Result<VirtAddr>{fault(FaultKind::no_memory, 0)};
  if (!at) {
    if (mapped) domain.mappings->unmap(*iova, size);
    domain.iova.release(*iova, size / page_size);
    return give_up(mapped ? DmaFailure::no_memory : DmaFailure::iommu_map);
  }
  ctx.coherent.insert_or_assign(
      *at, CoherentAllocation{Source::iommu_remap, &request.dev, *iova, size, std::move(*pages)});
  return CoherentBuffer{*at, *iova, request.bytes};
}

// iommu_dma_alloc_pages and __iommu_dma_map: contiguous pages at their place in the direct map.
std::optional<CoherentBuffer> iommu_dma_alloc_contiguous(DmaContext& ctx, const DmaRequest& request,
                                                         std::uint64_t size) {
  const unsigned order = get_order(size);
  const auto page = alloc_pages_order(ctx.mm, order, GfpZone::normal);
  if (!page) return ctx.fail_empty(request, DmaFailure::no_memory);
  const VirtAddr at = ctx.mm.phys_to_virt(*page);
  const paging::SiteScope site{request.cpu, ctx.sites.alloc};
  if (!request.cpu.fill(at, size, std::byte{0})) {
    free_pages_order(ctx.mm, *page, order);
    return ctx.fail_empty(request, DmaFailure::no_memory);
  }
  const DmaAddr dma =
      iommu_dma::map(ctx, request, *page, size, {.read = true, .write = true}, request.dev.coherent_dma_mask);
  if (dma == dma_mapping_error) {
    free_pages_order(ctx.mm, *page, order);
    return std::nullopt;
  }
  ctx.coherent.insert_or_assign(at,
                                CoherentAllocation{Source::iommu_pages, &request.dev, dma, size, {*page}});
  return CoherentBuffer{at, dma, request.bytes};
}

}  // namespace

std::optional<CoherentBuffer> iommu_dma_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                              std::uint64_t bytes, bool atomic, DmaAttrs attrs) {
  const DmaRequest request = coherent_request(cpu, dev, bytes, attrs);
  const std::uint64_t size = iommu_dma::align(bytes);
  if (ctx.config.version >= KernelVersion::v7_3 && ctx.cc.force_dma_unencrypted(dev)) {
    ctx.step(cpu, source_iommu_alloc,
             [] { return std::string{"shared memory behind an IOMMU is not supported: NULL"}; });
    return ctx.fail_empty(request, DmaFailure::iommu_cannot_share);
  }
  if (size == 0) return ctx.fail_empty(request, DmaFailure::invalid_size);
  const bool remap = !atomic && !attrs.has(dma_attr::force_contiguous);
  ctx.step(cpu, source_iommu_alloc, [&] {
    return fmt::format("{} pages, never decrypted: the IOMMU's entry {}", remap ? "scattered" : "contiguous",
                       ctx.me_mask != 0 ? "carries the C-bit" : "has no encryption bit");
  });
  return remap ? iommu_dma_alloc_remap(ctx, request, size) : iommu_dma_alloc_contiguous(ctx, request, size);
}

void iommu_dma_free(DmaContext& ctx, paging::Mmu& cpu, VirtAddr at, const CoherentAllocation& allocation) {
  iommu_dma::unmap(ctx, cpu, *allocation.dev, allocation.dma, allocation.bytes);
  if (allocation.source == Source::iommu_remap) {
    ctx.mm.vunmap(at, allocation.pages.size());
    free_scattered(ctx.mm, allocation.pages);
  } else {
    free_pages_order(ctx.mm, allocation.pages.front(), get_order(allocation.bytes));
  }
}

std::optional<DmaPages> dma_common_alloc_pages(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                               std::uint64_t bytes, DmaDirection direction) {
  DmaRequest request = coherent_request(cpu, dev, bytes, dma_attr::skip_cpu_sync);
  request.direction = direction;
  const unsigned order = get_order(bytes);
  const auto first = alloc_pages_order(ctx.mm, order, GfpZone::normal);
  if (!first) return ctx.fail_empty(request, DmaFailure::no_memory);
  request.phys = *first;
  const DmaAddr dma = iommu_dma_map_page(ctx, request);
  const paging::SiteScope site{cpu, ctx.sites.alloc};
  if (dma == dma_mapping_error || !cpu.fill(ctx.mm.phys_to_virt(*first), bytes, std::byte{0})) {
    free_pages_order(ctx.mm, *first, order);
    return std::nullopt;
  }
  const VirtAddr page = ctx.mm.phys_to_page(*first);
  ctx.pages.insert_or_assign(page, CoherentAllocation{Source::iommu_pages, &dev, dma, bytes, {*first}});
  return DmaPages{page, dma, bytes};
}

void dma_common_free_pages(DmaContext& ctx, paging::Mmu& cpu, const CoherentAllocation& allocation,
                           DmaDirection direction) {
  iommu_dma_unmap_page(ctx, cpu, *allocation.dev, allocation.dma, allocation.bytes, direction,
                       dma_attr::skip_cpu_sync);
  free_pages_order(ctx.mm, allocation.pages.front(), get_order(allocation.bytes));
}

// Clears no C-bit, and need not.
bool iommu_dma_mmap_encrypted(const DmaContext& ctx) { return kernel_selector(ctx) != 0; }

Result<VirtAddr, Errno> iommu_dma_mmap(DmaContext& ctx, UserSpace& user, const CoherentAllocation& allocation,
                                       std::uint64_t pages) {
  const auto at = allocation.source == Source::iommu_remap
                      ? user.map_pages(std::span{allocation.pages}.first(pages), kernel_selector(ctx))
                      : user.remap_pfn_range(allocation.pages.front(), pages, kernel_selector(ctx));
  if (!at) return tl::unexpected{Errno::enomem};
  return *at;
}

}  // namespace cbit::kernel
