#include "kernel/drm/drm_cache.hpp"

#include <algorithm>

namespace cbit::kernel {

bool drm_need_swiotlb(Kernel& kernel, unsigned dma_bits) {
  if (kernel.cc().has(CcAttr::mem_encrypt)) return true;
  // The largest resource: RAM, or the PCI hole, which ends at 4 GiB.
  const std::uint64_t max_iomem = std::max(kernel.machine().end_of_ram(), machine::high_ram).value() - 1;
  return dma_bits < 64 && max_iomem > std::uint64_t{1} << dma_bits;
}

}  // namespace cbit::kernel
