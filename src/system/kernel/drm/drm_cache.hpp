// drivers/gpu/drm/drm_cache.c
#pragma once

#include "kernel/kernel.hpp"

namespace cbit::kernel {

// Whether a graphics driver whose device drives `dma_bits` address bits must take its pages from the DMA API.
// [6.1] True on every platform whose memory is encrypted, SME included; else where the machine has addresses
// that the device does not reach.
[[nodiscard]] bool drm_need_swiotlb(Kernel& kernel, unsigned dma_bits);

}  // namespace cbit::kernel
