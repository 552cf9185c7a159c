// Memory that the DMA API gives: coherent buffers, pages, and what user space sees of them.
#include <fmt/format.h>

#include "kernel/dma/dma_impl.hpp"

namespace cbit::kernel {
namespace {

// __DMA_ATTR_ALLOC_CC_SHARED, which dma_alloc_attrs() of 7.3 adds; dma-debug prints it.
DmaAttrs alloc_attr(const DmaContext& ctx, const Device& dev) {
  const bool shared = ctx.config.version >= KernelVersion::v7_3 && ctx.cc.force_dma_unencrypted(dev);
  return shared ? DmaAttrs{1u << 14} : DmaAttrs{};
}

}  // namespace

std::optional<CoherentBuffer> Dma::alloc(paging::Mmu& cpu, Device& dev, std::uint64_t bytes, bool atomic,
                                         DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  if (dev.coherent_dma_mask == 0) ctx.warning_once(Once::no_coherent_mask, cpu, mapping_c, "dma_alloc_attrs");
  if (attrs.has(dma_attr::cc_shared) && ctx.config.version >= KernelVersion::v7_3)
    return ctx.fail_empty(coherent_request(cpu, dev, bytes, attrs), DmaFailure::attribute);
  auto buffer = Impl::direct(dev) ? dma_direct_alloc(ctx, cpu, dev, bytes, atomic, attrs)
                                  : iommu_dma_alloc(ctx, cpu, dev, bytes, atomic, attrs);
  if (!buffer) return buffer;
  const CoherentAllocation& allocation = ctx.coherent.at(buffer->cpu);
  const PhysAddr phys = allocation.pages.front();
  impl_->report_mapped({cpu, dev, phys, bytes, DmaDirection::bidirectional, attrs, DmaMappingKind::coherent},
                       buffer->dma);
  if (impl_->debug && allocation.source != CoherentAllocation::Source::no_mapping)
    impl_->debug->alloc_coherent(cpu, dev, phys, bytes, buffer->dma, attrs | alloc_attr(ctx, dev));
  return buffer;
}

void Dma::free(paging::Mmu& cpu, Device& dev, const CoherentBuffer& buffer, DmaAttrs attrs) {
  if (buffer.cpu == VirtAddr{}) return;
  if (impl_->debug)
    if (const auto phys = impl_->phys_of(cpu, buffer.cpu))
      impl_->debug->free_coherent(cpu, dev, *phys, buffer.bytes, buffer.dma, attrs);

  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.coherent.find(buffer.cpu);
  if (found == ctx.coherent.end())
    return ctx.step(cpu, "kernel/dma/mapping.c: dma_free_attrs", [&] {
      return fmt::format("no coherent buffer starts at {:#x}: nothing is freed", buffer.cpu.value());
    });
  const CoherentAllocation allocation = std::move(found->second);
  ctx.coherent.erase(found);
  if (Impl::direct(*allocation.dev))
    dma_direct_free(ctx, cpu, buffer.cpu, allocation);
  else
    iommu_dma_free(ctx, cpu, buffer.cpu, allocation);
  impl_->report_unmapped(cpu, dev, DmaMappingKind::coherent, buffer.dma, buffer.bytes,
                         DmaDirection::bidirectional, false);
}

std::optional<DmaPages> Dma::alloc_pages(paging::Mmu& cpu, Device& dev, std::uint64_t bytes,
                                         DmaDirection direction, bool atomic) {
  DmaContext& ctx = impl_->ctx;
  const DmaRequest request{
      cpu, dev, PhysAddr{}, align_up(bytes, page_size), direction, {}, DmaMappingKind::coherent};
  if (dev.coherent_dma_mask == 0) {
    ctx.warning_once(Once::no_coherent_mask, cpu, mapping_c, "__dma_alloc_pages");
    return ctx.fail_empty(request, DmaFailure::mask_unset);
  }
  if (request.bytes == 0) return ctx.fail_empty(request, DmaFailure::invalid_size);
  const auto pages = Impl::direct(dev) ? dma_direct_alloc_pages(ctx, cpu, dev, request.bytes, atomic)
                                       : dma_common_alloc_pages(ctx, cpu, dev, request.bytes, direction);
  if (!pages) return pages;
  const PhysAddr phys = ctx.pages.at(pages->page).pages.front();
  const VirtAddr struct_page = ctx.mm.phys_to_page(phys);
  impl_->report_mapped({cpu, dev, phys, request.bytes, direction, {}, DmaMappingKind::coherent}, pages->dma);
  ctx.tracer.emit_if_heard(cpu.agent(), [&] {
    return DmaPagesReturned{dev.name_id, phys, pages->page, struct_page, pages->dma, request.bytes};
  });
  if (impl_->debug) impl_->debug->alloc_pages(cpu, dev, phys, request.bytes, direction, pages->dma);
  return pages;
}

void Dma::free_pages(paging::Mmu& cpu, Device& dev, const DmaPages& pages, DmaDirection direction) {
  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.pages.find(pages.page);
  if (found == ctx.pages.end())
    return ctx.step(cpu, "kernel/dma/mapping.c: dma_free_pages", [&] {
      return fmt::format("dma_alloc_pages() returned no {:#x}: nothing is freed", pages.page.value());
    });
  const CoherentAllocation allocation = std::move(found->second);
  ctx.pages.erase(found);
  if (impl_->debug)
    impl_->debug->free_pages(cpu, dev, allocation.pages.front(), pages.bytes, direction, pages.dma);
  if (Impl::direct(*allocation.dev))
    dma_direct_free_pages(ctx, cpu, pages.page, allocation);
  else
    dma_common_free_pages(ctx, cpu, allocation, direction);
  impl_->report_unmapped(cpu, dev, DmaMappingKind::coherent, pages.dma, pages.bytes, direction, false);
}

Result<VirtAddr, Errno> Dma::mmap(Device&, UserSpace& user, const CoherentBuffer& buffer, DmaAttrs) {
  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.coherent.find(buffer.cpu);
  if (found == ctx.coherent.end() || buffer.bytes == 0 || buffer.bytes > found->second.bytes)
    return tl::unexpected{Errno::enxio};
  const std::uint64_t pages = align_up(buffer.bytes, page_size) / page_size;
  return Impl::direct(*found->second.dev) ? dma_direct_mmap(ctx, user, found->second, pages)
                                          : iommu_dma_mmap(ctx, user, found->second, pages);
}

Result<bool, Errno> Dma::mapping_encrypted(const CoherentBuffer& buffer) const {
  const auto found = impl_->ctx.coherent.find(buffer.cpu);
  if (found == impl_->ctx.coherent.end()) return tl::unexpected{Errno::enxio};
  const Device& dev = *found->second.dev;
  return Impl::direct(dev) ? dma_direct_mmap_encrypted(impl_->ctx, dev)
                           : iommu_dma_mmap_encrypted(impl_->ctx);
}

}  // namespace cbit::kernel
