// The DMA API of the model kernel: what a driver calls. Names, order and results are Linux's; every decision
// that it takes is a StepTaken event with the kernel function that takes it, so an explanation is what really
// ran. What the kernel prints is a KernelMessage, what stops a mapping a DmaMapFailed, a driver's mistake a
// DmaDebugReport.
//
//   dma.hpp/.cpp      dispatch                    kernel/dma/mapping.c
//   context.*         what the parts below share, and its boot
//   direct.*          dma-direct                  kernel/dma/direct.c, direct.h, include/linux/dma-direct.h
//   direct_map*.*     what it makes of a range, in each of its designs
//   iommu_dma.*       IOMMU-DMA                   drivers/iommu/dma-iommu.c
//   iommu_dma_iova.*  its two-step API            the same
//   iova_fq.*         its flush queue             drivers/iommu/dma-iommu.c
//   pool.*            atomic pools                kernel/dma/pool.c
//   swiotlb*.*        bounce buffers              kernel/dma/swiotlb.c
//   debug.*           dma-debug                   kernel/dma/debug.c
//
// DMA_ATTR_MMIO exists from KernelVersion::v6_19 on, REQUIRE_COHERENT and CC_SHARED from v7_2 on: earlier, a
// mapping that asks for one is refused.
//
// `cpu` is the CPU that executes the call: its number selects the SWIOTLB area, its TLB and accesses are
// used. A driver's mistakes do no harm to the model: what Linux stops at with a BUG, or goes astray on, is
// refused.
// Threading: map, unmap and sync of different CPUs may run in parallel when no event sink is attached and
// dma-debug is off; the rest is for one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "cbit/dma_types.hpp"
#include "kernel/cc_platform.hpp"
#include "kernel/device.hpp"
#include "kernel/dma/swiotlb.hpp"
#include "kernel/mm/mm.hpp"

namespace cbit::kernel {

// Values of -errno that the API returns.
enum class Errno : int {
  eperm = 1,
  enoent = 2,
  eio = 5,
  enxio = 6,
  enomem = 12,
  eacces = 13,
  efault = 14,
  ebusy = 16,
  enodev = 19,
  einval = 22,
  enospc = 28,
  erange = 34,
  enosys = 38,
  eopnotsupp = 95,
  eaddrinuse = 98,
  etimedout = 110,
  eremoteio = 121,
};

// "-EIO".
[[nodiscard]] std::string_view errno_name(Errno code);
// A system call's, which may also be ENOKEY.
[[nodiscard]] std::string_view errno_name(int error);

struct DmaConfig {
  KernelVersion version = KernelVersion::v6_1;
  SwiotlbOptions swiotlb;
  IommuMode iommu = IommuMode::none;
  // iommu= was on the command line. Where it was not, encryption turns passthrough into translated.
  bool iommu_explicit = true;
  std::optional<bool> iommu_strict;       // iommu.strict=; nullopt: not given
  std::uint64_t coherent_pool_bytes = 0;  // coherent_pool=; 0: the default size
  bool direct_remap = false;              // CONFIG_DMA_DIRECT_REMAP: atomic pools are mapped by vmap
  bool debug = true;                      // dma-debug
  bool debug_all_errors = false;          // dma-api/all_errors: print more than the first error
};

// debugfs dma_pools/pool_size_*: bytes of the atomic pools.
struct AtomicPoolSizes {
  std::uint64_t dma = 0;
  std::uint64_t dma32 = 0;
  std::uint64_t kernel = 0;
};

// One element of a scatterlist. After mapping, the first `nents` elements carry dma and dma_length.
// `p2pdma`: memory of another device, reached through the host bridge (PCI_P2PDMA_MAP_THRU_HOST_BRIDGE).
struct ScatterEntry {
  PhysAddr phys;
  std::uint64_t length = 0;
  DmaAddr dma = dma_mapping_error;
  std::uint64_t dma_length = 0;
  bool p2pdma = false;
};

struct CoherentBuffer {
  VirtAddr cpu;
  DmaAddr dma;
  std::uint64_t bytes = 0;
};

// Of dma_alloc_pages(): the CPU reaches it by page_address(), and it is synced as a mapping is.
struct DmaPages {
  VirtAddr page;  // struct page *
  DmaAddr dma;
  std::uint64_t bytes = 0;
};

// struct dma_iova_state: space for the device's addresses that dma_iova_link() fills.
struct DmaIovaState {
  struct Link {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    PhysAddr phys;
    DmaDirection direction{};
  };
  DmaAddr addr;
  std::uint64_t bytes = 0;
  bool swiotlb = false;     // DMA_IOVA_USE_SWIOTLB: a part of what was linked has bounced
  std::vector<Link> links;  // the model's own: what an unlink takes back, for who watches
};

// What a bus address that the DMA API gave leads to.
struct DmaReach {
  DmaPath path{};
  // The device reaches encrypted memory: by address, IOMMU entry, or trust.
  bool encrypted = false;
};
class IommuOps;  // kernel/dma/iommu_ops.hpp

class Dma {
 public:
  // Boots the DMA layer: SWIOTLB, atomic pools, default IOMMU domains. `mm` and `cc` outlive it, and it
  // outlives its devices' mappings. Faults (no_memory) when there is no memory for that.
  static Result<std::unique_ptr<Dma>> create(Mm& mm, const CcPlatform& cc, const DmaConfig& config);
  ~Dma();

  // iommu_device_register, and nullptr takes it back: an IOMMU that has a driver of its own (iommu_ops.hpp)
  // is that of the devices configured from now on.
  void register_iommu(IommuOps* ops);
  // Gives the device its name in events and its dma_ops: attaches it to a default IOMMU domain where there is
  // an IOMMU. Call before its first mapping. The device stays where it is until it is released.
  Result<void> configure(Device& dev);
  // Driver release: reports leaked mappings. Returns how many dma-debug knows of.
  std::size_t release(Device& dev);

  // dma_set_mask, dma_set_coherent_mask: -EIO when dma_supported() says no.
  [[nodiscard]] Result<void, Errno> set_mask(Device& dev, std::uint64_t mask);
  [[nodiscard]] Result<void, Errno> set_coherent_mask(Device& dev, std::uint64_t mask);
  [[nodiscard]] std::uint64_t required_mask(const Device& dev) const;
  [[nodiscard]] bool addressing_limited(const Device& dev) const;

  // Streaming mappings; dma_mapping_error on failure. map_single takes a direct-map address.
  [[nodiscard]] DmaAddr map_single(paging::Mmu& cpu, Device& dev, VirtAddr at, std::uint64_t bytes,
                                   DmaDirection direction, DmaAttrs attrs = {});
  [[nodiscard]] DmaAddr map_page(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t bytes,
                                 DmaDirection direction, DmaAttrs attrs = {}, bool p2pdma = false);
  void unmap_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                    DmaAttrs attrs = {});
  void unmap_page(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                  DmaAttrs attrs = {});
  // dma_mapping_error(): also tells dma-debug that the driver checked.
  [[nodiscard]] bool mapping_error(Device& dev, DmaAddr dma);
  void sync_single_for_cpu(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction);
  void sync_single_for_device(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                              DmaDirection direction);

  // dma_map_sg: number of DMA segments, 0 on error. dma_map_sgtable: the errno. An entry's length is an
  // unsigned int.
  [[nodiscard]] std::size_t map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                   DmaDirection direction, DmaAttrs attrs = {});
  [[nodiscard]] Result<std::size_t, Errno> map_sgtable(paging::Mmu& cpu, Device& dev,
                                                       std::span<ScatterEntry> sg, DmaDirection direction,
                                                       DmaAttrs attrs = {});
  void unmap_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
                DmaAttrs attrs = {});
  void sync_sg_for_cpu(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction);
  void sync_sg_for_device(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction);

  // dma_map_resource: MMIO.
  [[nodiscard]] DmaAddr map_resource(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t bytes,
                                     DmaDirection direction, DmaAttrs attrs = {});
  void unmap_resource(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                      DmaAttrs attrs = {});

  // dma_iova_*: the two-step API of 6.16 and later, for devices behind an IOMMU. iova_try_alloc() is false
  // for all others, and where no IOVA is left: the driver then maps range by range. `phys` is the first
  // range's place in its page. Entries work from iova_link() on.
  [[nodiscard]] bool iova_try_alloc(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr phys,
                                    std::uint64_t bytes);
  // -EIO for a range that starts within a page at an offset; -EPERM for MMIO and REQUIRE_COHERENT where the
  // range had to bounce; -ENOMEM where the pool is full; -EINVAL, -ENXIO, -EADDRINUSE of the IOMMU's driver.
  [[nodiscard]] Result<void, Errno> iova_link(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr at,
                                              std::uint64_t offset, std::uint64_t bytes,
                                              DmaDirection direction, DmaAttrs attrs = {});
  [[nodiscard]] Result<void, Errno> iova_sync(paging::Mmu& cpu, Device& dev, const DmaIovaState& state,
                                              std::uint64_t offset, std::uint64_t bytes);
  void iova_unlink(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t offset,
                   std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs = {});
  void iova_free(Device& dev, DmaIovaState& state);
  // Unlinks the first `mapped` bytes, if any, and frees the space.
  void iova_destroy(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t mapped,
                    DmaDirection direction, DmaAttrs attrs = {});

  // dma_alloc_attrs: zeroed pages, at most 4 MiB of them where they have to be contiguous. `atomic` is a gfp
  // without __GFP_DIRECT_RECLAIM. nullopt on failure.
  [[nodiscard]] std::optional<CoherentBuffer> alloc(paging::Mmu& cpu, Device& dev, std::uint64_t bytes,
                                                    bool atomic = false, DmaAttrs attrs = {});
  void free(paging::Mmu& cpu, Device& dev, const CoherentBuffer& buffer, DmaAttrs attrs = {});
  // dma_alloc_pages, dma_free_pages: zeroed pages; whole ones. Up to 6.11 dma-debug wants mapping_error() to
  // be asked. Bug of 6.6, 6.10 and 6.19: an atomic allocation that has to be shared returns the memory's
  // address in place of its struct page.
  [[nodiscard]] std::optional<DmaPages> alloc_pages(paging::Mmu& cpu, Device& dev, std::uint64_t bytes,
                                                    DmaDirection direction, bool atomic = false);
  void free_pages(paging::Mmu& cpu, Device& dev, const DmaPages& pages, DmaDirection direction);
  // dma_mmap_coherent: maps the buffer, or its first `bytes`, into a process with the attribute that the DMA
  // layer chose. -ENXIO for what is not a coherent buffer or exceeds it.
  [[nodiscard]] Result<VirtAddr, Errno> mmap(Device& dev, UserSpace& user, const CoherentBuffer& buffer,
                                             DmaAttrs attrs = {});
  // The encryption attribute that mmap() gives and that every other mapping of the buffer must have. -ENXIO
  // for what is not a coherent buffer.
  [[nodiscard]] Result<bool, Errno> mapping_encrypted(const CoherentBuffer& buffer) const;

  // SIZE_MAX as 2^64 - 1. Trap: a device whose mask reaches all of RAM but not the C-bit bounces and is not
  // limited. [7.3] 0 for a device without mask.
  [[nodiscard]] std::uint64_t max_mapping_size(const Device& dev) const;
  // dma_opt_mapping_size(): the same where there is no size that is faster.
  [[nodiscard]] std::uint64_t opt_mapping_size(const Device& dev) const;
  [[nodiscard]] bool need_sync(Device& dev, DmaAddr dma) const;
  // Of a streaming mapping of this device.
  [[nodiscard]] DmaReach reach(const Device& dev, DmaAddr dma) const;

  // Runs what the kernel leaves to workers: growing atomic pools, and the SWIOTLB [6.6]. True when something
  // grew.
  bool run_workers(paging::Mmu& cpu);
  [[nodiscard]] AtomicPoolSizes atomic_pools() const;

  [[nodiscard]] Swiotlb* swiotlb();  // nullptr: no pool
  [[nodiscard]] Mm& mm();
  [[nodiscard]] const CcPlatform& cc() const;
  [[nodiscard]] const DmaConfig& config() const;
  // The default domain's type after iommu_subsys_init had its say; none without IOMMU.
  [[nodiscard]] IommuMode effective_iommu() const;

 private:
  Dma();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit::kernel
