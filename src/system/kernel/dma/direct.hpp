// dma-direct: mapping physical memory without an IOMMU. One function per function of the kernel, under its
// name and in its order: include/linux/dma-direct.h, kernel/dma/direct.h, kernel/dma/direct.c, and
// swiotlb_map of kernel/dma/swiotlb.c. x86: devices are cache-coherent, there is no dma_range_map and no
// highmem.
#pragma once

#include "kernel/dma/context.hpp"

namespace cbit::kernel {

// include/linux/dma-direct.h
[[nodiscard]] constexpr DmaAddr phys_to_dma_unencrypted(PhysAddr phys) { return DmaAddr{phys.value()}; }

// Sets the C-bit in SEV guests too, where such an address means nothing: only forced bouncing hides that. On
// MKTME the page's KeyID (__mem_encrypt_dma_set, arch/x86/mm/mem_encrypt_common.c of the RFC).
// [posted, "SEV-TIO phase 2"] An accepted device's address is the physical one.
[[nodiscard]] inline DmaAddr phys_to_dma(const DmaContext& ctx, const Device& dev, PhysAddr phys) {
  if (dev.accepted) return phys_to_dma_unencrypted(phys);
  if (ctx.encryption_mask != ctx.me_mask) return ctx.cc.layout().join_dma(phys, ctx.mm.page_key_id(phys));
  return DmaAddr{phys.value() | ctx.me_mask};
}

[[nodiscard]] inline PhysAddr dma_to_phys(const DmaContext& ctx, DmaAddr dma) {
  return PhysAddr{dma.value() & ~ctx.encryption_mask};
}

// "the C-bit (47)" or "KeyID 5 (bits 51:46)": what makes an address one of encrypted memory.
[[nodiscard]] std::string encryption_bits_text(const DmaContext& ctx, DmaAddr dma);

// The end of a range near 2^64 wraps around, as it does in the kernel.
[[nodiscard]] inline bool dma_capable(const Device& dev, DmaAddr dma, std::uint64_t bytes) {
  return dma != dma_mapping_error && dma.value() + bytes - 1 <= dev.limit(dev.dma_mask.value_or(0));
}

// include/linux/swiotlb.h
[[nodiscard]] inline bool is_swiotlb_force_bounce(const DmaContext& ctx, const Device& dev) {
  return dev.restricted_pool != nullptr ? dev.restricted_pool->force_bounce() : ctx.swiotlb_force_bounce;
}
[[nodiscard]] inline bool is_swiotlb_active(const DmaContext& ctx, const Device& dev) {
  return ctx.pool(dev) != nullptr;
}
[[nodiscard]] inline bool is_swiotlb_for_alloc(const Device& dev) {
  return dev.restricted_pool != nullptr && dev.restricted_pool->for_alloc();
}
[[nodiscard]] inline bool is_swiotlb_buffer(const DmaContext& ctx, const Device& dev, PhysAddr phys) {
  const Swiotlb* pool = ctx.pool(dev);
  return pool != nullptr && pool->contains(dev, phys);
}

// kernel/dma/swiotlb.c
DmaAddr swiotlb_map(DmaContext& ctx, const DmaRequest& request);
// tbl_map_single with its failure reported; [6.10] ends the device's right to skip syncs.
[[nodiscard]] std::optional<PhysAddr> swiotlb_tbl_map_single(DmaContext& ctx, const DmaRequest& request,
                                                             std::uint64_t alloc_size,
                                                             std::uint64_t alloc_align_mask);

// kernel/dma/direct.h; what maps is in direct_map.hpp. The bool results tell whether bytes were copied.
bool dma_direct_unmap_page(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, DmaAttrs attrs);
bool dma_direct_sync_single_for_device(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                       std::uint64_t bytes, DmaDirection direction);
bool dma_direct_sync_single_for_cpu(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                    std::uint64_t bytes, DmaDirection direction);

// kernel/dma/direct.c
[[nodiscard]] Result<std::size_t, Errno> dma_direct_map_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                           std::span<ScatterEntry> sg, DmaDirection direction,
                                                           DmaAttrs attrs);
bool dma_direct_unmap_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                         DmaDirection direction, DmaAttrs attrs);
DmaAddr dma_direct_map_resource(DmaContext& ctx, const DmaRequest& request);

[[nodiscard]] DmaAddr phys_to_dma_direct(const DmaContext& ctx, const Device& dev, PhysAddr phys);
[[nodiscard]] std::uint64_t dma_direct_get_required_mask(const DmaContext& ctx, const Device& dev);
[[nodiscard]] bool dma_direct_supported(const DmaContext& ctx, std::uint64_t mask);
[[nodiscard]] bool dma_direct_need_sync(const DmaContext& ctx, const Device& dev, DmaAddr dma);
[[nodiscard]] bool dma_coherent_ok(const DmaContext& ctx, const Device& dev, PhysAddr phys,
                                   std::uint64_t bytes);

// Memory that it allocates (direct_alloc.cpp).
[[nodiscard]] std::optional<CoherentBuffer> dma_direct_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                             std::uint64_t bytes, bool atomic,
                                                             DmaAttrs attrs);
void dma_direct_free(DmaContext& ctx, paging::Mmu& cpu, VirtAddr at, const CoherentAllocation& allocation);
[[nodiscard]] std::optional<DmaPages> dma_direct_alloc_pages(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                             std::uint64_t bytes, bool atomic);
void dma_direct_free_pages(DmaContext& ctx, paging::Mmu& cpu, VirtAddr page,
                           const CoherentAllocation& allocation);
[[nodiscard]] bool dma_direct_mmap_encrypted(const DmaContext& ctx, const Device& dev);
[[nodiscard]] Result<VirtAddr, Errno> dma_direct_mmap(DmaContext& ctx, UserSpace& user,
                                                      const CoherentAllocation& allocation,
                                                      std::uint64_t pages);

// What alloc_pages() can serve at most: get_order() of a size, and the pages of such a block or nullopt.
[[nodiscard]] unsigned get_order(std::uint64_t bytes);
[[nodiscard]] std::optional<PhysAddr> alloc_pages_order(Mm& mm, unsigned order, GfpZone zone);
void free_pages_order(Mm& mm, PhysAddr first, unsigned order);

}  // namespace cbit::kernel
