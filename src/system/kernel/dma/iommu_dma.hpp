// IOMMU-DMA: the DMA API behind a translating IOMMU. drivers/iommu/dma-iommu.c, and iommu_subsys_init() of
// drivers/iommu/iommu.c. One function per function of the kernel, under its name and in its order.
//
// The DMA address is an IOVA and never carries the C-bit; the IOMMU's entry does, whatever it maps and for
// whom. Forced bouncing is not consulted: only untrusted devices bounce, and only where a mapping shares its
// pages with others. An encrypted guest behind a virtual IOMMU therefore hands its private pages to the
// device, which reads ciphertext.
//
// Modelled as one IOMMU group per device.
// Threading: map and unmap from any thread, also for devices of different domains; the rest from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "iommu/iommu.hpp"
#include "iommu/iova.hpp"
#include "kernel/dma/dma.hpp"
#include "kernel/dma/iommu_ops.hpp"
#include "kernel/dma/iova_fq.hpp"

namespace cbit::kernel {

struct CoherentAllocation;
struct DmaContext;
struct DmaRequest;

// The default domain of one device, and its I/O virtual addresses.
class IommuDmaDomain {
 public:
  IommuDmaDomain(std::unique_ptr<IommuMappings> space, std::unique_ptr<iommu::IommuDomain> table)
      : domain{std::move(table)}, mappings{std::move(space)} {}

  std::unique_ptr<iommu::IommuDomain> domain;  // the page table; nullptr: the IOMMU has none in memory
  std::unique_ptr<IommuMappings> mappings;
  iommu::IovaAllocator iova;
  std::optional<IovaFlushQueue> flush_queue;  // of a domain of type IOMMU_DOMAIN_DMA_FQ
  bool pci_32bit_workaround = true;           // [6.6] given up for good when the space below 4 GiB is used up
};

class IommuDma {
 public:
  IommuDma() = default;
  ~IommuDma();
  IommuDma(const IommuDma&) = delete;
  IommuDma& operator=(const IommuDma&) = delete;

  // iommu_subsys_init: the type of default domains.
  static IommuMode default_domain_type(const CcPlatform& cc, const DmaConfig& config);
  // iommu_dma_strict: whether an unmap invalidates at once. Lazy is the default on x86.
  static bool strict(const CcPlatform& cc, const DmaConfig& config);

  // iommu_device_register: the IOMMU of the devices that are configured from now on.
  void set_ops(IommuOps* ops) { ops_ = ops; }
  // Gives the device a default domain and attaches it; translated ones become the device's dma_ops.
  Result<void> configure(DmaContext& ctx, Device& dev);

  // IOMMU page tables come from one allocator: map and unmap take turns.
  std::mutex lock;

 private:
  [[nodiscard]] static Result<std::unique_ptr<iommu::IommuDomain>> create_domain(
      DmaContext& ctx, iommu::IommuDomain::Type type, std::uint16_t id);

  Result<void> configure_by_ops(DmaContext& ctx, Device& dev, bool identity);
  void own(DmaContext& ctx, Device& dev, std::unique_ptr<IommuDmaDomain> domain,
           std::span<const iommu::ViommuRange> reserved);

  iommu::Iommu* iommu_ = nullptr;
  IommuOps* ops_ = nullptr;
  bool has_direct_window_ = false;
  std::vector<RequesterId> attached_;
  std::unique_ptr<iommu::IommuDomain> identity_;
  std::vector<std::unique_ptr<IommuDmaDomain>> domains_;
};

// nullopt where Linux's 0 stands for "not mapped".
[[nodiscard]] std::optional<PhysAddr> iommu_iova_to_phys(const Device& dev, DmaAddr dma);

// The bool results tell whether bytes were copied.
DmaAddr iommu_dma_map_page(DmaContext& ctx, const DmaRequest& request);
bool iommu_dma_unmap_page(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                          DmaDirection direction, DmaAttrs attrs);
bool iommu_dma_sync_single_for_cpu(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                   std::uint64_t bytes, DmaDirection direction);
bool iommu_dma_sync_single_for_device(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                      std::uint64_t bytes, DmaDirection direction);
[[nodiscard]] Result<std::size_t, Errno> iommu_dma_map_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                          std::span<ScatterEntry> sg, DmaDirection direction,
                                                          DmaAttrs attrs);
bool iommu_dma_unmap_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                        DmaDirection direction, DmaAttrs attrs);
DmaAddr iommu_dma_map_resource(DmaContext& ctx, const DmaRequest& request);
void iommu_dma_unmap_resource(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                              std::uint64_t bytes);

[[nodiscard]] std::optional<CoherentBuffer> iommu_dma_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                            std::uint64_t bytes, bool atomic, DmaAttrs attrs);
void iommu_dma_free(DmaContext& ctx, paging::Mmu& cpu, VirtAddr at, const CoherentAllocation& allocation);
// kernel/dma/ops_helpers.c: private memory in a guest, too.
[[nodiscard]] std::optional<DmaPages> dma_common_alloc_pages(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                             std::uint64_t bytes, DmaDirection direction);
void dma_common_free_pages(DmaContext& ctx, paging::Mmu& cpu, const CoherentAllocation& allocation,
                           DmaDirection direction);
[[nodiscard]] bool iommu_dma_mmap_encrypted(const DmaContext& ctx);
[[nodiscard]] Result<VirtAddr, Errno> iommu_dma_mmap(DmaContext& ctx, UserSpace& user,
                                                     const CoherentAllocation& allocation,
                                                     std::uint64_t pages);

// What map, map_sg and alloc share (iommu_dma.cpp). `alloc_iova` and `map_pieces` are called with the lock
// held.
namespace iommu_dma {

[[nodiscard]] bool dev_use_swiotlb(const Device& dev);
// Untrusted, and not alone in the range's pages: it bounces. Where an attribute forbids that, the reason.
[[nodiscard]] bool shares_pages(const Device& dev, PhysAddr phys, std::uint64_t bytes);
[[nodiscard]] DmaFailure why_no_bounce(const DmaRequest& request);
// iommu_dma_map_swiotlb: the bounce, whose pages hold nothing else. nullopt: reported.
[[nodiscard]] std::optional<PhysAddr> bounce(DmaContext& ctx, const DmaRequest& request);
// dma_info_to_prot
[[nodiscard]] iommu::IommuAccess rights_of(DmaDirection direction);
// iova_align: up to the granule; 0 when that leaves the address space.
[[nodiscard]] std::uint64_t align(std::uint64_t bytes);
// Whether all of the range is RAM, or MMIO below 4 GiB where that is mapped. Linux does not ask, and fills
// page tables with what nothing decodes.
[[nodiscard]] bool exists(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, std::uint64_t bytes);
// iommu_dma_alloc_iova
[[nodiscard]] std::optional<DmaAddr> alloc_iova(DmaContext& ctx, const DmaRequest& request,
                                                std::uint64_t bytes, std::uint64_t mask);
// iommu_map_sg: pieces of whole pages one after the other, physically contiguous ones in one go. All or
// nothing.
[[nodiscard]] bool map_pieces(DmaContext& ctx, Device& dev, DmaAddr iova,
                              std::span<const mem::PhysRange> pieces, iommu::IommuAccess rights);
// __iommu_dma_map, __iommu_dma_unmap
DmaAddr map(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, std::uint64_t bytes,
            iommu::IommuAccess rights, std::uint64_t mask);
void unmap(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes);
// What a page's leaf carries: the C-bit wherever sme_me_mask is set; the page's KeyID on MKTME ("iommu/vt-d:
// Support MKTME in DMA remapping" of the RFC).
// [7.1] Not for MMIO: the AMD driver's page tables leave the C-bit out where IOMMU_MMIO is set.
[[nodiscard]] mem::KeySelector leaf_selector(const DmaContext& ctx, PhysAddr phys, DmaAttrs attrs = {});

// dma_iova_*() (iommu_dma_iova.cpp). iova_unlink: whether bytes were copied back.
[[nodiscard]] bool iova_try_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaIovaState& state,
                                  PhysAddr phys, std::uint64_t bytes);
[[nodiscard]] Result<void, Errno> iova_link(DmaContext& ctx, DmaIovaState& state, const DmaRequest& request,
                                            std::uint64_t offset);
bool iova_unlink(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t offset,
                 std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs);
void iova_free(DmaContext& ctx, Device& dev, DmaIovaState& state);

}  // namespace iommu_dma
}  // namespace cbit::kernel
