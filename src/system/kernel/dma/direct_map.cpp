#include "kernel/dma/direct_map.hpp"

#include <fmt/format.h>

#include <bit>

#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_map_page = "kernel/dma/direct.h: dma_direct_map_page";
constexpr std::string_view source_map_phys = "kernel/dma/direct.h: dma_direct_map_phys";

// "48" for a mask of 48 bits, the mask itself for one with holes.
std::string mask_text(std::uint64_t mask) {
  if ((mask & (mask + 1)) == 0) return fmt::format("{}", std::bit_width(mask));
  return fmt::format("the mask {:#x}", mask);
}

}  // namespace

namespace dma_direct {

void step_phys_to_dma(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  ctx.step(request.cpu, "include/linux/dma-direct.h: phys_to_dma", [&] {
    if (ctx.encryption_mask == 0)
      return fmt::format("the DMA address is {:#x}: no bit in it selects a key", dma.value());
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
  if (ctx.cc.forces_swiotlb())
    return ctx.step(request.cpu, traits.swiotlb_forced_by, [&] {
      return fmt::format("{} guest: SWIOTLB_FORCE is set, so every streaming mapping bounces",
                         traits.technology);
    });
  ctx.step(request.cpu, "kernel/dma/swiotlb.c: setup_io_tlb_npages",
           [] { return std::string{"swiotlb=force: every streaming mapping bounces"}; });
}

void step_mapped(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, std::string_view source) {
  ctx.step(request.cpu, source, [&] {
    if ((dma.value() & ctx.encryption_mask) == 0) return fmt::format("mapped directly at {:#x}", dma.value());
    return fmt::format("mapped directly at {:#x}: the device's access carries {}", dma.value(),
                       ctx.me_mask != 0 ? "the C-bit" : "the KeyID");
  });
}

bool fits_mask(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  const bool capable = dma_capable(request.dev, dma, request.bytes);
  ctx.step(request.cpu, "include/linux/dma-direct.h: dma_capable", [&] {
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

DmaAddr overflow(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, Once once, DmaFailure reason) {
  ctx.message_once(once, request.cpu, [&] { return overflow_text("DMA", request, dma); });
  return ctx.fail(request, reason, request.dev.limit(*request.dev.dma_mask), dma);
}

Once once_per_file(const DmaRequest& request) {
  return request.kind == DmaMappingKind::sg ? Once::dma_overflow_sg : Once::dma_overflow;
}

DmaFailure why_no_bounce(const DmaRequest& request) {
  if (request.attrs.has(dma_attr::mmio)) return DmaFailure::p2pdma_bounce;
  return request.attrs.has(dma_attr::require_coherent) ? DmaFailure::attribute : DmaFailure::mask_overflow;
}

DmaAddr refuse_bounce(DmaContext& ctx, const DmaRequest& request, std::string_view source) {
  ctx.step(request.cpu, source, [] {
    return std::string{"DMA_ATTR_MMIO or REQUIRE_COHERENT forbids a bounce: DMA_MAPPING_ERROR"};
  });
  return ctx.fail(request, why_no_bounce(request));
}

DmaAddr bounce_or_overflow(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, Once once,
                           std::string_view source) {
  const bool active = is_swiotlb_active(ctx, request.dev);
  const bool coherent = request.attrs.has(dma_attr::require_coherent);
  ctx.step(request.cpu, source, [&] {
    if (coherent) return std::string{"not dma_capable, and DMA_ATTR_REQUIRE_COHERENT: DMA_MAPPING_ERROR"};
    return std::string{active ? "not dma_capable and SWIOTLB is active: the mapping bounces"
                              : "not dma_capable and there is no SWIOTLB: DMA_MAPPING_ERROR"};
  });
  if (active && !coherent) return swiotlb_map(ctx, request);
  return overflow(ctx, request, dma, once, why_no_bounce(request));
}

}  // namespace dma_direct

namespace {

using namespace dma_direct;

// ---- 6.1 to 6.17 -----------------------------------------------------------------------------------------

DmaAddr refuse_p2pdma(DmaContext& ctx, const DmaRequest& request) {
  ctx.step(request.cpu, source_map_page,
           [] { return std::string{"a P2PDMA page is device memory and cannot bounce: DMA_MAPPING_ERROR"}; });
  return ctx.fail(request, DmaFailure::p2pdma_bounce);
}

DmaAddr map_page(DmaContext& ctx, const DmaRequest& request) {
  const DmaAddr dma = phys_to_dma(ctx, request.dev, request.phys);
  step_phys_to_dma(ctx, request, dma);
  if (is_swiotlb_force_bounce(ctx, request.dev)) {
    step_force_bounce(ctx, request);
    return request.p2pdma ? refuse_p2pdma(ctx, request) : swiotlb_map(ctx, request);
  }
  if (!fits_mask(ctx, request, dma)) [[unlikely]]
    return request.p2pdma ? refuse_p2pdma(ctx, request)
                          : bounce_or_overflow(ctx, request, dma, once_per_file(request), source_map_page);
  step_mapped(ctx, request, dma, source_map_page);
  return dma;
}

// ---- 6.18 to 7.0 -----------------------------------------------------------------------------------------

// MMIO, and pages that are shared: the address is the physical one, and nothing bounces.
DmaAddr map_unencrypted(DmaContext& ctx, const DmaRequest& request, std::string_view what,
                        DmaFailure reason) {
  const DmaAddr dma = phys_to_dma_unencrypted(request.phys);
  if (!fits_mask(ctx, request, dma)) [[unlikely]]
    return overflow(ctx, request, dma, once_per_file(request), reason);
  ctx.step(request.cpu, source_map_phys, [&] {
    return fmt::format("{}: mapped directly at {:#x}, without an encryption bit", what, dma.value());
  });
  return dma;
}

DmaAddr map_mmio(DmaContext& ctx, const DmaRequest& request) {
  return map_unencrypted(ctx, request, "DMA_ATTR_MMIO", DmaFailure::resource_mask);
}

DmaAddr map_ram(DmaContext& ctx, const DmaRequest& request) {
  const DmaAddr dma = phys_to_dma(ctx, request.dev, request.phys);
  step_phys_to_dma(ctx, request, dma);
  if (!fits_mask(ctx, request, dma)) [[unlikely]]
    return bounce_or_overflow(ctx, request, dma, once_per_file(request), source_map_phys);
  step_mapped(ctx, request, dma, source_map_phys);
  return dma;
}

DmaAddr map_phys_6_18(DmaContext& ctx, const DmaRequest& request) {
  const bool mmio = request.attrs.has(dma_attr::mmio);
  if (is_swiotlb_force_bounce(ctx, request.dev)) {
    step_force_bounce(ctx, request);
    // 6.18.y says so, with an address that was never set; 6.19.10 and 7.0 do not.
    return mmio ? refuse_bounce(ctx, request, source_map_phys) : swiotlb_map(ctx, request);
  }
  return mmio ? map_mmio(ctx, request) : map_ram(ctx, request);
}

// ---- 7.1 and 7.2 -----------------------------------------------------------------------------------------

DmaAddr map_phys_7_1(DmaContext& ctx, const DmaRequest& request) {
  const bool cc_shared = request.attrs.has(dma_attr::cc_shared);
  const bool force = is_swiotlb_force_bounce(ctx, request.dev);
  if (force && !cc_shared) {
    step_force_bounce(ctx, request);
    const bool may_bounce = !request.attrs.has(dma_attr::mmio | dma_attr::require_coherent);
    return may_bounce ? swiotlb_map(ctx, request) : refuse_bounce(ctx, request, source_map_phys);
  }
  if (!force && cc_shared) {
    ctx.step(request.cpu, source_map_phys, [] {
      return std::string{"DMA_ATTR_CC_SHARED for a device that is not forced to bounce: DMA_MAPPING_ERROR"};
    });
    return ctx.fail(request, DmaFailure::attribute);
  }
  if (request.attrs.has(dma_attr::mmio)) return map_mmio(ctx, request);
  if (cc_shared)
    return map_unencrypted(ctx, request, "DMA_ATTR_CC_SHARED, the pages are decrypted",
                           DmaFailure::mask_overflow);
  return map_ram(ctx, request);
}

}  // namespace

DirectMap direct_map_of(KernelVersion version) {
  switch (version) {
    case KernelVersion::v6_1:
    case KernelVersion::v6_6:
    case KernelVersion::v6_10:
    case KernelVersion::v6_12: return map_page;
    case KernelVersion::v6_19: return map_phys_6_18;
    case KernelVersion::v7_2: return map_phys_7_1;
    case KernelVersion::v7_3:
    case KernelVersion::next: return map_phys_7_3;
  }
  return map_page;
}

}  // namespace cbit::kernel
