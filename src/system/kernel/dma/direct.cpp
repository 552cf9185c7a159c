#include "kernel/dma/direct.hpp"

#include <fmt/format.h>

#include <bit>

namespace cbit::kernel {
namespace {

constexpr std::string_view source_map_page = "kernel/dma/direct.h: dma_direct_map_page";
constexpr std::string_view source_capable = "include/linux/dma-direct.h: dma_capable";

// "48" for a mask of 48 bits, the mask itself for one with holes.
std::string mask_text(std::uint64_t mask) {
  if ((mask & (mask + 1)) == 0) return fmt::format("{}", std::bit_width(mask));
  return fmt::format("the mask {:#x}", mask);
}

}  // namespace

std::string encryption_bits_text(const DmaContext& ctx, DmaAddr dma) {
  if (ctx.encryption_mask == ctx.me_mask) return fmt::format("the C-bit ({})", std::countr_zero(ctx.me_mask));
  const mem::KeyLayout& layout = ctx.cc.layout();
  return fmt::format("KeyID {} (bits {}:{})", layout.split(dma).second,
                     layout.lowest_bit() + layout.bits() - 1, layout.lowest_bit());
}

namespace {

void step_phys_to_dma(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  ctx.step(request.cpu, "include/linux/dma-direct.h: phys_to_dma", [&] {
    if (ctx.encryption_mask == 0) return fmt::format("no sme_me_mask: the DMA address is {:#x}", dma.value());
    return fmt::format("{:#x} with {} is {:#x}", request.phys.value(), encryption_bits_text(ctx, dma),
                       dma.value());
  });
}

void step_force_bounce(DmaContext& ctx, const DmaRequest& request) {
  if (request.dev.restricted_pool != nullptr)
    return ctx.step(request.cpu, "kernel/dma/swiotlb.c: rmem_swiotlb_device_init", [] {
      return std::string{"the device has a restricted-dma-pool: every streaming mapping bounces"};
    });
  const machine::PlatformTraits& traits = ctx.cc.traits();
  if (ctx.cc.bounces_always())
    return ctx.step(request.cpu, traits.swiotlb_forced_by, [&] {
      return fmt::format("{} guest: SWIOTLB_FORCE is set, so every streaming mapping bounces",
                         traits.technology);
    });
  ctx.step(request.cpu, "kernel/dma/swiotlb.c: setup_io_tlb_npages",
           [] { return std::string{"swiotlb=force: every streaming mapping bounces"}; });
}

void step_p2pdma(DmaContext& ctx, const DmaRequest& request) {
  ctx.step(request.cpu, source_map_page,
           [] { return std::string{"a P2PDMA page is device memory and cannot bounce: DMA_MAPPING_ERROR"}; });
}

// dma_capable(), with the numbers that decide it.
bool dma_capable_step(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  const bool capable = dma_capable(request.dev, dma, request.bytes);
  ctx.step(request.cpu, source_capable, [&] {
    return fmt::format("{:#x} + {} - 1 needs {} bits, the device has {}: {}", dma.value(), request.bytes,
                       std::bit_width(dma.value() + request.bytes - 1),
                       mask_text(request.dev.limit(*request.dev.dma_mask)), capable);
  });
  return capable;
}

std::string overflow_text(std::string_view what, const DmaRequest& request, DmaAddr dma) {
  return fmt::format("{} addr {:#018x}+{} overflow (mask {:x}, bus limit {:x}).", what, dma.value(),
                     request.bytes, *request.dev.dma_mask, request.dev.bus_dma_limit);
}

DmaFailure failure_of(SwiotlbRefusal refusal) {
  switch (refusal) {
    case SwiotlbRefusal::no_pool: return DmaFailure::no_pool;
    case SwiotlbRefusal::full: return DmaFailure::pool_full;
    case SwiotlbRefusal::beyond_mask: return DmaFailure::pool_beyond_mask;
    case SwiotlbRefusal::invalid: return DmaFailure::invalid_size;
  }
  return DmaFailure::pool_full;
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
                                                                    : phys_to_dma(ctx, request.phys),
                                   .size = request.bytes,
                                   .force = is_swiotlb_force_bounce(ctx, dev)});
  // A request that the pool could serve is copied from, so all of it has to be RAM.
  if (request.bytes != 0 && request.bytes <= io_tlb_size * io_tlb_segsize &&
      !ctx.mm.machine().memory().contains(request.phys, request.bytes))
    return ctx.fail_empty(request, DmaFailure::invalid_memory);

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
    return fmt::format("copied into the pool at {:#x}; its DMA address carries no {}", bounce->value(),
                       ctx.cc.key_id_mask() != 0 ? "KeyID" : "C-bit");
  });
  if (!dma_capable_step(ctx, request, dma)) [[unlikely]] {
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

namespace {

// Bounces, where the request allows it.
DmaAddr bounce(DmaContext& ctx, const DmaRequest& request) {
  if (request.p2pdma) {
    step_p2pdma(ctx, request);
    return ctx.fail(request, DmaFailure::p2pdma_bounce);
  }
  if (request.attrs.has(dma_attr::mmio | dma_attr::require_coherent)) {
    ctx.step(request.cpu, source_map_page, [] {
      return std::string{"DMA_ATTR_MMIO or REQUIRE_COHERENT forbids a bounce: DMA_MAPPING_ERROR"};
    });
    return ctx.fail(request, DmaFailure::attribute);
  }
  return swiotlb_map(ctx, request);
}

DmaAddr overflow(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  ctx.message_once(Once::dma_overflow, request.cpu, [&] { return overflow_text("DMA", request, dma); });
  return ctx.fail(request, DmaFailure::mask_overflow, request.dev.limit(*request.dev.dma_mask), dma);
}

// [next] DMA_ATTR_CC_SHARED and DMA_ATTR_MMIO: the address is the physical one.
DmaAddr map_unencrypted(DmaContext& ctx, const DmaRequest& request) {
  const DmaAddr dma = phys_to_dma_unencrypted(request.phys);
  ctx.step(request.cpu, source_map_page, [&] {
    return fmt::format("{}: mapped directly at {:#x}, without an encryption bit",
                       request.attrs.has(dma_attr::cc_shared) ? "DMA_ATTR_CC_SHARED, the pages are decrypted"
                                                              : "DMA_ATTR_MMIO",
                       dma.value());
  });
  if (!dma_capable_step(ctx, request, dma)) [[unlikely]]
    return overflow(ctx, request, dma);
  return dma;
}

}  // namespace

DmaAddr dma_direct_map_page(DmaContext& ctx, const DmaRequest& request) {
  const bool force = is_swiotlb_force_bounce(ctx, request.dev);
  if (request.attrs.has(dma_attr::cc_shared) && !force) {
    ctx.step(request.cpu, source_map_page, [] {
      return std::string{"DMA_ATTR_CC_SHARED for a device that is not forced to bounce: DMA_MAPPING_ERROR"};
    });
    return ctx.fail(request, DmaFailure::attribute);
  }
  if (request.attrs.has(dma_attr::cc_shared) || (!force && request.attrs.has(dma_attr::mmio)))
    return map_unencrypted(ctx, request);

  const DmaAddr dma = phys_to_dma(ctx, request.phys);
  step_phys_to_dma(ctx, request, dma);
  if (force) {
    step_force_bounce(ctx, request);
    return bounce(ctx, request);
  }
  if (!dma_capable_step(ctx, request, dma)) [[unlikely]] {
    if (request.p2pdma || is_swiotlb_active(ctx, request.dev)) {
      if (!request.p2pdma)
        ctx.step(request.cpu, source_map_page,
                 [] { return std::string{"not dma_capable and SWIOTLB is active: the mapping bounces"}; });
      return bounce(ctx, request);
    }
    ctx.step(request.cpu, source_map_page,
             [] { return std::string{"not dma_capable and there is no SWIOTLB: DMA_MAPPING_ERROR"}; });
    return overflow(ctx, request, dma);
  }
  ctx.step(request.cpu, source_map_page, [&] {
    if ((dma.value() & ctx.encryption_mask) == 0) return fmt::format("mapped directly at {:#x}", dma.value());
    return fmt::format("mapped directly at {:#x}: the device's access carries {}", dma.value(),
                       ctx.me_mask != 0 ? "the C-bit" : "the KeyID");
  });
  return dma;
}

bool dma_direct_unmap_page(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, DmaAttrs attrs) {
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

Result<std::size_t, Errno> dma_direct_map_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                             std::span<ScatterEntry> sg, DmaDirection direction,
                                             DmaAttrs attrs) {
  for (std::size_t i = 0; i < sg.size(); ++i) {
    ScatterEntry& entry = sg[i];
    entry.dma = dma_direct_map_page(
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
  if (!dma_capable_step(ctx, request, dma)) [[unlikely]] {
    ctx.message_once(Once::resource_overflow, request.cpu,
                     [&] { return overflow_text("DMA", request, dma); });
    return ctx.fail(request, DmaFailure::resource_mask, request.dev.limit(*request.dev.dma_mask), dma);
  }
  return dma;
}

DmaAddr phys_to_dma_direct(const DmaContext& ctx, const Device& dev, PhysAddr phys) {
  return ctx.cc.force_dma_unencrypted(dev) ? phys_to_dma_unencrypted(phys) : phys_to_dma(ctx, phys);
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
