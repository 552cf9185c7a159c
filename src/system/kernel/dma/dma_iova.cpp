// The two-step API: space for addresses first, then links of memory into it [6.16].
#include <fmt/format.h>

#include <span>

#include "kernel/dma/dma_impl.hpp"

namespace cbit::kernel {

bool Dma::iova_try_alloc(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr phys,
                         std::uint64_t bytes) {
  return iommu_dma::iova_try_alloc(impl_->ctx, cpu, dev, state, phys, bytes);
}

Result<void, Errno> Dma::iova_link(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr at,
                                   std::uint64_t offset, std::uint64_t bytes, DmaDirection direction,
                                   DmaAttrs attrs) {
  if (state.bytes == 0) return tl::unexpected{Errno::einval};
  const DmaRequest request{cpu, dev, at, bytes, direction, attrs, DmaMappingKind::page};
  const std::size_t before = state.links.size();
  if (const auto done = iommu_dma::iova_link(impl_->ctx, state, request, offset); !done) {
    state.links.resize(before);
    return done;
  }
  for (const DmaIovaState::Link& link : std::span{state.links}.subspan(before))
    impl_->report_mapped({cpu, dev, link.phys, link.bytes, direction, attrs, DmaMappingKind::page},
                         state.addr + link.offset);
  return {};
}

Result<void, Errno> Dma::iova_sync(paging::Mmu& cpu, Device&, const DmaIovaState& state, std::uint64_t offset,
                                   std::uint64_t bytes) {
  if (state.bytes == 0) return tl::unexpected{Errno::einval};
  impl_->ctx.step(cpu, "drivers/iommu/dma-iommu.c: dma_iova_sync", [&] {
    return fmt::format("the IOMMU knows the entries of {} bytes at {:#x}", bytes,
                       (state.addr + offset).value());
  });
  return {};
}

void Dma::iova_unlink(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t offset,
                      std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs) {
  if (state.bytes == 0 || bytes == 0 || offset > state.bytes || bytes > state.bytes - offset) return;
  const bool copied = iommu_dma::iova_unlink(impl_->ctx, cpu, dev, state, offset, bytes, direction, attrs);
  std::erase_if(state.links, [&](const DmaIovaState::Link& link) {
    if (link.offset < offset || link.offset - offset >= bytes) return false;
    impl_->report_unmapped(cpu, dev, DmaMappingKind::page, state.addr + link.offset, link.bytes,
                           link.direction, copied);
    return true;
  });
}

void Dma::iova_free(Device& dev, DmaIovaState& state) {
  if (state.bytes != 0) iommu_dma::iova_free(impl_->ctx, dev, state);
}

void Dma::iova_destroy(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t mapped,
                       DmaDirection direction, DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  // Until 7.3 a lazy domain's space went to the flush queue.
  const bool lazily = ctx.config.version < KernelVersion::v7_3 && state.bytes != 0 && mapped == state.bytes &&
                      dev.iommu->flush_queue;
  if (!lazily) {
    if (mapped != 0) iova_unlink(cpu, dev, state, 0, mapped, direction, attrs);
    return iova_free(dev, state);
  }
  iommu_dma::unmap(ctx, cpu, dev, state.addr, state.bytes);
  for (const DmaIovaState::Link& link : state.links)
    impl_->report_unmapped(cpu, dev, DmaMappingKind::page, state.addr + link.offset, link.bytes,
                           link.direction, false);
  state = {};
}

}  // namespace cbit::kernel
