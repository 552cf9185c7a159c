// Hands out I/O virtual addresses top-down below a limit, as Linux does (drivers/iommu/iova.c).
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "cbit/addr.hpp"

namespace cbit::iommu {

class IovaAllocator {
 public:
  // Page 0 is never given: a DMA address of zero means failure in iommu-dma.
  IovaAllocator();

  // `pages` contiguous pages whose last byte is at or below `limit`, aligned to `pages` rounded up to a power
  // of two (size_aligned). Fewer than 32 pages take up that power of two (alloc_iova_fast). nullopt when
  // there is none.
  [[nodiscard]] std::optional<DmaAddr> allocate(std::uint64_t pages, std::uint64_t limit);
  // PCI devices: below 4 GiB first, then up to the limit (iommu_dma_alloc_iova).
  [[nodiscard]] std::optional<DmaAddr> allocate_pci(std::uint64_t pages, std::uint64_t limit);
  // Marks a range as taken (reserved regions, MSI window); false when it overlaps one that is.
  bool reserve(DmaAddr first, std::uint64_t pages);
  // False when the range was not given out as a whole.
  bool release(DmaAddr first, std::uint64_t pages);

 private:
  using Gaps = std::map<std::uint64_t, std::uint64_t>;  // first page number -> page number after the last
  void take(Gaps::iterator gap, std::uint64_t first, std::uint64_t pages);

  Gaps gaps_;
  std::map<std::uint64_t, std::uint64_t> taken_;  // first page number -> pages
};

}  // namespace cbit::iommu
