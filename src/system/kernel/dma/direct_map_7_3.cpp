// The direct map of 7.3. There is no SWIOTLB_FORCE any more: that an encrypted guest's memory bounces follows
// from dma_capable(), which says no to each address of encrypted memory where the device needs shared.
#include <fmt/format.h>

#include "kernel/dma/direct.hpp"
#include "kernel/dma/direct_map.hpp"

namespace cbit::kernel::dma_direct {
namespace {

constexpr std::string_view source_map_phys_7_3 = "kernel/dma/direct.c: dma_direct_map_phys";

void step_address(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  if (!request.attrs.has(dma_attr::cc_shared) && !request.dev.accepted)
    return step_phys_to_dma(ctx, request, dma);
  ctx.step(request.cpu, "include/linux/dma-direct.h: phys_to_dma_unencrypted", [&] {
    return fmt::format("{}: the DMA address is {:#x}",
                       request.dev.accepted
                           ? "the guest has accepted the device, which sees what the guest sees"
                           : "shared memory",
                       dma.value());
  });
}

bool dma_capable_7_3(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  if (!request.attrs.has(dma_attr::cc_shared) && ctx.cc.force_dma_unencrypted(request.dev)) {
    ctx.step(request.cpu, "include/linux/dma-direct.h: dma_capable", [&] {
      return fmt::format("{:#x} is not shared, and the device needs shared memory ({}): false", dma.value(),
                         ctx.cc.shares_all_dma() ? "an encrypted guest" : "its coherent mask");
    });
    return false;
  }
  return fits_mask(ctx, request, dma);
}

DmaAddr map_mmio_7_3(DmaContext& ctx, const DmaRequest& request, DmaAddr dma) {
  if (!dma_capable_7_3(ctx, request, dma)) [[unlikely]] {
    // The mask is to blame if the address that the driver could have asked for, the shared one, is beyond it.
    const bool reaches = dma_capable(request.dev, phys_to_dma_unencrypted(request.phys), request.bytes);
    return overflow(ctx, request, dma, Once::dma_overflow,
                    reaches ? DmaFailure::p2pdma_bounce : DmaFailure::resource_mask);
  }
  step_mapped(ctx, request, dma, source_map_phys_7_3);
  return dma;
}

}  // namespace

DmaAddr map_phys_7_3(DmaContext& ctx, const DmaRequest& asked) {
  DmaRequest request = asked;
  const bool mmio = request.attrs.has(dma_attr::mmio);
  // A host's MMIO is shared. A guest's is not taken to be: the driver has to say so.
  if (mmio && ctx.cc.has(CcAttr::host_mem_encrypt)) request.attrs = request.attrs | dma_attr::cc_shared;

  if (is_swiotlb_force_bounce(ctx, request.dev)) {
    step_force_bounce(ctx, request);
    const bool may_bounce = !request.attrs.has(dma_attr::mmio | dma_attr::require_coherent);
    return may_bounce ? swiotlb_map(ctx, request) : refuse_bounce(ctx, request, source_map_phys_7_3);
  }
  const bool shared = request.attrs.has(dma_attr::cc_shared);
  const DmaAddr dma =
      shared ? phys_to_dma_unencrypted(request.phys) : phys_to_dma(ctx, request.dev, request.phys);
  step_address(ctx, request, dma);
  if (mmio) return map_mmio_7_3(ctx, request, dma);
  if (!dma_capable_7_3(ctx, request, dma))
    return bounce_or_overflow(ctx, request, dma, Once::dma_overflow, source_map_phys_7_3);
  step_mapped(ctx, request, dma, source_map_phys_7_3);
  return dma;
}

}  // namespace cbit::kernel::dma_direct
