// What dma-direct makes of one range: bounce it, map it in place, or refuse it. Linux has designed that anew
// several times; each design is one function, in the kernel's order, and a kernel has one of them.
//
//   to 6.17       dma_direct_map_page: forced, or beyond the mask: bounced; never pages of a BAR (MMIO has a
//                 function of its own, dma_direct_map_resource)
//   6.18 to 7.0   dma_direct_map_phys, which maps MMIO too, and so refuses it where bouncing is forced
//   7.1, 7.2      the caller may say that its pages are shared, or that it will not have a bounce
//   7.3           nothing is forced: dma_capable() refuses addresses of encrypted memory (direct_map_7_3.cpp)
#pragma once

#include "kernel/dma/context.hpp"

namespace cbit::kernel {

[[nodiscard]] DirectMap direct_map_of(KernelVersion version);

// What the designs share.
namespace dma_direct {

DmaAddr map_phys_7_3(DmaContext& ctx, const DmaRequest& request);

void step_phys_to_dma(DmaContext& ctx, const DmaRequest& request, DmaAddr dma);
void step_force_bounce(DmaContext& ctx, const DmaRequest& request);
void step_mapped(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, std::string_view source);
// dma_capable() by the mask, with the numbers that decide it.
[[nodiscard]] bool fits_mask(DmaContext& ctx, const DmaRequest& request, DmaAddr dma);
// "DMA addr 0x0000000100000000+4096 overflow (mask ffffffff, bus limit 0)."
[[nodiscard]] std::string overflow_text(std::string_view what, const DmaRequest& request, DmaAddr dma);
// dev_WARN_ONCE() and dma_mapping_error. Where the design is an inline function, each of the two files that
// use it has a "once" of its own.
DmaAddr overflow(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, Once once, DmaFailure reason);
[[nodiscard]] Once once_per_file(const DmaRequest& request);
// Where a bounce is what is needed and an attribute forbids it: nothing is printed.
DmaAddr refuse_bounce(DmaContext& ctx, const DmaRequest& request, std::string_view source);
[[nodiscard]] DmaFailure why_no_bounce(const DmaRequest& request);
// An address that the device does not reach is bounced, if there is a pool and the caller allows it.
DmaAddr bounce_or_overflow(DmaContext& ctx, const DmaRequest& request, DmaAddr dma, Once once,
                           std::string_view source);

}  // namespace dma_direct
}  // namespace cbit::kernel
