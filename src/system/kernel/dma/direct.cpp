#include "kernel/dma/direct.hpp"

#include <fmt/format.h>

#include <bit>

#include "kernel/dma/direct_map.hpp"

namespace cbit::kernel {

using dma_direct::fits_mask;
using dma_direct::overflow_text;

std::string encryption_bits_text(const DmaContext& ctx, DmaAddr dma) {
  if (ctx.encryption_mask == ctx.me_mask) return fmt::format("the C-bit ({})", std::countr_zero(ctx.me_mask));
  const mem::KeyLayout& layout = ctx.cc.layout();
  return fmt::format("KeyID {} (bits {}:{})", layout.split(dma).second,
                     layout.lowest_bit() + layout.bits() - 1, layout.lowest_bit());
}

namespace {

DmaFailure failure_of(SwiotlbRefusal refusal) {
  switch (refusal) {
    case SwiotlbRefusal::no_pool: return DmaFailure::no_pool;
    case SwiotlbRefusal::full: return DmaFailure::pool_full;
    case SwiotlbRefusal::beyond_mask: return DmaFailure::pool_beyond_mask;
    case SwiotlbRefusal::invalid: return DmaFailure::invalid_size;
  }
  return DmaFailure::pool_full;
}

// What swiotlb_tbl_map_single() asks of the pool before it looks for slots.
bool pool_serves(DmaContext& ctx, const DmaRequest& request) {
  const Swiotlb* const pool = ctx.pool(request.dev);
  if (pool == nullptr) {
    ctx.message(request.cpu, [&] {
      return fmt::format(
          "{}: Can not allocate SWIOTLB buffer earlier and can't now provide you with the DMA "
          "bounce buffer",
          request.dev.name);
    });
    ctx.fail(request, DmaFailure::no_pool);
    return false;
  }
  // [7.3] The device's kind of memory and the pool's have to be the same.
  const bool other_kind = ctx.config.version >= KernelVersion::v7_3 &&
                          ctx.cc.has(CcAttr::guest_mem_encrypt) &&
                          pool->cc_shared() != ctx.cc.force_dma_unencrypted(request.dev);
  if (!other_kind) return true;
  ctx.step(request.cpu, "kernel/dma/swiotlb.c: swiotlb_tbl_map_single", [] {
    return std::string{"the pool is shared memory, and the device needs private memory: DMA_MAPPING_ERROR"};
  });
  ctx.fail(request, DmaFailure::pool_not_private);
  return false;
}

// The bounce is copied from what the direct map has at the address: RAM, or a BAR's pages that its driver has
// made P2PDMA memory. A request that the pool cannot serve is not copied.
bool can_be_copied(DmaContext& ctx, const DmaRequest& request) {
  if (request.bytes == 0 || request.bytes > io_tlb_size * io_tlb_segsize) return true;
  if (!request.p2pdma) return ctx.mm.machine().memory().contains(request.phys, request.bytes);
  ctx.step(request.cpu, "mm/memremap.c: memremap_pages", [&] {
    return fmt::format(
        "pages of a BAR: the CPU copies them through PAGE_KERNEL, {}",
        ctx.cc.has(CcAttr::mem_encrypt) ? "as encrypted memory, which MMIO is not" : "without caching");
  });
  return iommu_dma::exists(ctx, request, request.phys, request.bytes) &&
         ctx.mm.memremap_pages(request.phys, request.bytes);
}

// dma_reset_need_sync(): from the first bounce on, the device's syncs copy.
void dma_reset_need_sync(Device& dev) {
  const std::atomic_ref skip{dev.dma_skip_sync};
  if (skip.load(std::memory_order_relaxed)) skip.store(false, std::memory_order_relaxed);
}

}  // namespace

// ---- kernel/dma/swiotlb.c --------------------------------------------------------------------------------

std::optional<PhysAddr> swiotlb_tbl_map_single(DmaContext& ctx, const DmaRequest& request,
                                               std::uint64_t alloc_size, std::uint64_t alloc_align_mask) {
  Device& dev = request.dev;
  if (ctx.tracer.enabled()) [[unlikely]]
    ctx.tracer.emit(request.cpu.agent(),
                    SwiotlbBounced{.device = dev.name_id,
                                   .dma_mask = dev.dma_mask.value_or(0),
                                   .dev_addr = dev.iommu != nullptr ? phys_to_dma_unencrypted(request.phys)
                                                                    : phys_to_dma(ctx, dev, request.phys),
                                   .size = request.bytes,
                                   .force = is_swiotlb_force_bounce(ctx, dev)});
  if (!pool_serves(ctx, request)) return std::nullopt;
  if (!can_be_copied(ctx, request)) return ctx.fail_empty(request, DmaFailure::invalid_memory);

  const auto bounce = ctx.pool(dev)->tbl_map_single(request.cpu, dev, request.phys, request.bytes, alloc_size,
                                                    alloc_align_mask, request.direction, request.attrs);
  if (!bounce) return ctx.fail_empty(request, failure_of(bounce.error()), dev.limit(*dev.dma_mask));
  dma_reset_need_sync(dev);
  return *bounce;
}

DmaAddr swiotlb_map(DmaContext& ctx, const DmaRequest& request) {
  const auto bounce = swiotlb_tbl_map_single(ctx, request, request.bytes, 0);
  if (!bounce) return dma_mapping_error;

  const DmaAddr dma = phys_to_dma_unencrypted(*bounce);
  ctx.step(request.cpu, "kernel/dma/swiotlb.c: swiotlb_map", [&] {
    const std::string text = fmt::format("copied into the pool at {:#x}", bounce->value());
    if (ctx.encryption_mask == 0) return text;
    return text +
           fmt::format("; its DMA address carries no {}", ctx.cc.key_id_mask() != 0 ? "KeyID" : "C-bit");
  });
  if (!fits_mask(ctx, request, dma)) [[unlikely]] {
    ctx.pool(request.dev)
        ->tbl_unmap_single(request.cpu, request.dev, *bounce, request.bytes, request.direction,
                           request.attrs | dma_attr::skip_cpu_sync);
    ctx.message_once(Once::swiotlb_overflow, request.cpu,
                     [&] { return overflow_text("swiotlb", request, dma); });
    return ctx.fail(request, DmaFailure::pool_beyond_mask, request.dev.limit(*request.dev.dma_mask), dma);
  }
  return dma;
}

// ---- kernel/dma/direct.h ---------------------------------------------------------------------------------

bool dma_direct_unmap_page(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, DmaAttrs attrs) {
  // [6.18] MMIO, [7.1] and what may not bounce: there is nothing to undo.
  if (attrs_of(ctx.config.version).has(attrs & (dma_attr::mmio | dma_attr::require_coherent))) return false;
  const PhysAddr phys = dma_to_phys(ctx, dma);
  bool copied = false;
  if (!attrs.has(dma_attr::skip_cpu_sync))
    copied = dma_direct_sync_single_for_cpu(ctx, cpu, dev, dma, bytes, direction);
  if (is_swiotlb_buffer(ctx, dev, phys))
    ctx.pool(dev)->tbl_unmap_single(cpu, dev, phys, bytes, direction, attrs | dma_attr::skip_cpu_sync);
  return copied;
}

bool dma_direct_sync_single_for_device(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                       std::uint64_t bytes, DmaDirection direction) {
  const PhysAddr phys = dma_to_phys(ctx, dma);
  return is_swiotlb_buffer(ctx, dev, phys) &&
         ctx.pool(dev)->sync_single_for_device(cpu, dev, phys, bytes, direction);
}

bool dma_direct_sync_single_for_cpu(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                    std::uint64_t bytes, DmaDirection direction) {
  const PhysAddr phys = dma_to_phys(ctx, dma);
  return is_swiotlb_buffer(ctx, dev, phys) &&
         ctx.pool(dev)->sync_single_for_cpu(cpu, dev, phys, bytes, direction);
}

// ---- kernel/dma/direct.c ---------------------------------------------------------------------------------

namespace {

// [6.18 to 7.0] PCI_P2PDMA_MAP_THRU_HOST_BRIDGE leaves the switch before anything is mapped.
void step_unset_address(DmaContext& ctx, const paging::Mmu& cpu) {
  ctx.step(cpu, "kernel/dma/direct.c: dma_direct_map_sg", [] {
    return std::string{
        "a page of a BAR behind the host bridge: no mapping is made, dma_address stays as it was"};
  });
}

}  // namespace

Result<std::size_t, Errno> dma_direct_map_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                             std::span<ScatterEntry> sg, DmaDirection direction,
                                             DmaAttrs attrs) {
  for (std::size_t i = 0; i < sg.size(); ++i) {
    ScatterEntry& entry = sg[i];
    if (entry.p2pdma && ctx.config.version == KernelVersion::v6_19) {
      step_unset_address(ctx, cpu);
      entry.dma_length = entry.length;
      continue;
    }
    entry.dma = ctx.dma_direct_map(
        ctx, {cpu, dev, entry.phys, entry.length, direction, attrs, DmaMappingKind::sg, entry.p2pdma});
    if (entry.dma == dma_mapping_error) {
      dma_direct_unmap_sg(ctx, cpu, dev, sg.first(i), direction, attrs | dma_attr::skip_cpu_sync);
      return tl::unexpected{Errno::eio};
    }
    entry.dma_length = entry.length;
  }
  return sg.size();
}

bool dma_direct_unmap_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                         DmaDirection direction, DmaAttrs attrs) {
  bool copied = false;
  for (const ScatterEntry& entry : sg)
    copied |= dma_direct_unmap_page(ctx, cpu, dev, entry.dma, entry.dma_length, direction, attrs);
  return copied;
}

DmaAddr dma_direct_map_resource(DmaContext& ctx, const DmaRequest& request) {
  const DmaAddr dma = phys_to_dma_unencrypted(request.phys);
  ctx.step(request.cpu, "kernel/dma/direct.c: dma_direct_map_resource",
           [&] { return fmt::format("MMIO at {:#x} is never encrypted and never bounced", dma.value()); });
  if (!fits_mask(ctx, request, dma)) [[unlikely]] {
    ctx.message_once(Once::resource_overflow, request.cpu,
                     [&] { return overflow_text("DMA", request, dma); });
    return ctx.fail(request, DmaFailure::resource_mask, request.dev.limit(*request.dev.dma_mask), dma);
  }
  return dma;
}

DmaAddr phys_to_dma_direct(const DmaContext& ctx, const Device& dev, PhysAddr phys) {
  return ctx.cc.force_dma_unencrypted(dev) ? phys_to_dma_unencrypted(phys) : phys_to_dma(ctx, dev, phys);
}

std::uint64_t dma_direct_get_required_mask(const DmaContext& ctx, const Device& dev) {
  const DmaAddr max_dma = phys_to_dma_direct(ctx, dev, ctx.last_page);
  return bit_mask(static_cast<unsigned>(std::bit_width(max_dma.value())));
}

bool dma_direct_supported(const DmaContext& ctx, std::uint64_t mask) {
  if (mask >= bit_mask(32)) return true;
  const PhysAddr min_mask{std::min(ctx.last_page.value(), bit_mask(zone_dma_bits))};
  return mask >= phys_to_dma_unencrypted(min_mask).value();
}

bool dma_direct_need_sync(const DmaContext& ctx, const Device& dev, DmaAddr dma) {
  return is_swiotlb_buffer(ctx, dev, dma_to_phys(ctx, dma));
}

bool dma_coherent_ok(const DmaContext& ctx, const Device& dev, PhysAddr phys, std::uint64_t bytes) {
  const DmaAddr dma = phys_to_dma_direct(ctx, dev, phys);
  return dma != dma_mapping_error && dma.value() + bytes - 1 <= dev.limit(dev.coherent_dma_mask);
}

}  // namespace cbit::kernel
