// struct device, as far as DMA is concerned.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/events.hpp"
#include "base/ids.hpp"
#include "cbit/addr.hpp"

namespace cbit::kernel {

class IommuDmaDomain;  // kernel/dma/iommu_dma.hpp
class Swiotlb;         // kernel/dma/swiotlb.hpp

struct Device {
  std::string name;    // dev_name()
  std::string driver;  // the bound driver; empty: dev_driver_string() falls back to the bus
  NameId name_id = 0;
  RequesterId requester = 0;
  bool is_pci = true;

  std::optional<std::uint64_t> dma_mask = bit_mask(32);  // nullopt: a device that never set one
  std::uint64_t coherent_dma_mask = bit_mask(32);
  std::uint64_t bus_dma_limit = 0;  // 0: no limit

  std::uint32_t min_align_mask = 0;            // dma_set_min_align_mask()
  std::uint32_t max_segment_size = 64 * 1024;  // dma_get_max_seg_size(): 64 KiB unless set
  std::uint64_t seg_boundary_mask = 0;         // dma_set_seg_boundary(); 0: never called by the driver
  bool untrusted = false;                      // pci_dev.untrusted: external-facing port

  bool accepted = false;  // [posted] device_cc_accepted(): a TDISP interface in the state RUN

  bool dma_skip_sync = false;  // [6.10] set by dma_set_mask(), cleared by the first bounce

  IommuDmaDomain* iommu = nullptr;     // set: dma_ops are iommu-dma; null: dma-direct
  Swiotlb* restricted_pool = nullptr;  // dev->dma_io_tlb_mem of a restricted-dma-pool; null: the default pool

  // min_not_zero(mask, bus_dma_limit)
  [[nodiscard]] std::uint64_t limit(std::uint64_t mask) const {
    if (mask == 0 || bus_dma_limit == 0) return mask | bus_dma_limit;
    return std::min(mask, bus_dma_limit);
  }
  // dma_get_seg_boundary(): for PCI devices 4 GiB - 1 unless the driver set another (pci_device_add()).
  [[nodiscard]] std::uint64_t seg_boundary() const {
    if (seg_boundary_mask != 0) return seg_boundary_mask;
    return is_pci ? bit_mask(32) : bit_mask(64);
  }
  // dma_get_mask(): 32 bits for a device that never set one.
  [[nodiscard]] std::uint64_t streaming_mask() const {
    return dma_mask.value_or(0) != 0 ? *dma_mask : bit_mask(32);
  }
};

}  // namespace cbit::kernel
