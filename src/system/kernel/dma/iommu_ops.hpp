// What the IOMMU core of the kernel knows of an IOMMU's driver: struct iommu_domain_ops and struct iommu_ops
// (include/linux/iommu.h), as far as the DMA layer needs them.
// Threading: as iommu_dma.hpp's map and unmap.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "iommu/iommu.hpp"
#include "iommu/viommu_domains.hpp"
#include "kernel/device.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit::kernel {

// The address space of a domain.
class IommuMappings {
 public:
  virtual ~IommuMappings() = default;
  // As IommuDomain's.
  virtual Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, iommu::IommuAccess rights,
                           mem::KeySelector selector) = 0;
  virtual std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes) = 0;
  // IOMMU_CAP_DEFERRED_FLUSH: unmap_lazily() leaves the IOTLB alone, whose flush then is flush_iotlb_all().
  [[nodiscard]] virtual bool can_defer() const { return false; }
  virtual std::uint64_t unmap_lazily(DmaAddr iova, std::uint64_t bytes) { return unmap(iova, bytes); }
  virtual void flush_iotlb_all() {}
  // nullopt where Linux's 0 stands for "not mapped".
  [[nodiscard]] virtual std::optional<PhysAddr> iova_to_phys(DmaAddr iova) const = 0;
};

// An IOMMU that has a driver of its own, and is found after the boot: virtio-iommu.
class IommuOps {
 public:
  virtual ~IommuOps() = default;
  // probe_device, and attach_dev to a default domain. The mappings of an identity domain are nullptr: the DMA
  // layer does not use them.
  virtual Result<std::unique_ptr<IommuMappings>, Errno> attach(const Device& dev, bool identity) = 0;
  virtual void release(const Device& dev) = 0;
  // Ranges that iommu-dma must not hand out for the device.
  [[nodiscard]] virtual std::vector<iommu::ViommuRange> reserved(const Device& dev) const = 0;
};

// ---- drivers that are there from the boot ----

// An IOMMU with a page table in memory (drivers/iommu/amd), real or emulated: QEMU's says that it caches
// non-present entries, so that the guest flushes after each map and each unmap. A flush is two commands, and
// each moves the tail of the command buffer: two exits.
// On POWER the table is the hypervisor's: each entry is one H_PUT_TCE, a multiple of them H_PUT_TCE_INDIRECT
// (up to 512) or H_STUFF_TCE. arch/powerpc/platforms/pseries/iommu.c.
[[nodiscard]] std::unique_ptr<IommuMappings> table_mappings(machine::Machine& machine,
                                                            iommu::IommuDomain& domain);
// enable_ddw: the hypercalls that map all of memory 1:1 into a dynamic DMA window of 64 KiB pages.
void map_direct_window(machine::Machine& machine);

}  // namespace cbit::kernel
