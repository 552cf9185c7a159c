// What the parts of the DMA layer share: the kernel underneath, its pools, and the way they report what they
// decide.
//
// Reports cost one branch while nobody listens; their text is built by the callback and only then.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/trace.hpp"
#include "kernel/dma/dma.hpp"
#include "kernel/dma/iommu_dma.hpp"
#include "kernel/dma/pool.hpp"

namespace cbit::kernel {

// One physical range that a driver wants to map.
struct DmaRequest {
  paging::Mmu& cpu;
  Device& dev;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  DmaDirection direction{};
  DmaAttrs attrs;
  DmaMappingKind kind{};
  bool p2pdma = false;
};

// dma_alloc_attrs() asks for pages, not for a range that is already there.
inline DmaRequest coherent_request(paging::Mmu& cpu, Device& dev, std::uint64_t bytes, DmaAttrs attrs) {
  return {cpu, dev, PhysAddr{}, bytes, DmaDirection::bidirectional, attrs, DmaMappingKind::coherent};
}

// The attributes that came after 6.17 and that this kernel knows.
[[nodiscard]] constexpr DmaAttrs attrs_of(KernelVersion version) {
  if (version >= KernelVersion::v7_2)
    return dma_attr::mmio | dma_attr::require_coherent | dma_attr::cc_shared;
  return version >= KernelVersion::v6_19 ? dma_attr::mmio : DmaAttrs{};
}

// A live allocation of dma_alloc_coherent() or dma_alloc_pages(). Linux finds its pages from the addresses
// that the driver passes to free; the model looks here, so that a wrong address frees nothing instead of
// somebody else's memory.
struct CoherentAllocation {
  enum class Source : std::uint8_t {
    pages,
    no_mapping,
    atomic_pool,
    restricted_pool,
    iommu_pages,
    iommu_remap
  };
  Source source{};
  Device* dev = nullptr;
  DmaAddr dma;
  std::uint64_t bytes = 0;      // page-aligned
  std::vector<PhysAddr> pages;  // iommu_remap: each page; else the first
};

// Messages that the kernel prints once per boot (WARN_ONCE, dev_warn_once).
enum class Once : std::uint8_t {
  dma_overflow,
  dma_overflow_sg,
  swiotlb_overflow,
  resource_overflow,
  vmalloc_map,
  no_dma_mask,
  no_dma_mask_sg,
  no_dma_mask_resource,
  zone_device_page,
  no_coherent_mask,
  no_coherent_pool,
  bounce_inactive,
  sg_errno,
  cacheline_overlaps,
  count
};

// Maps one range for dma-direct; one design of it (direct_map.hpp).
struct DmaContext;
using DirectMap = DmaAddr (*)(DmaContext& ctx, const DmaRequest& request);

struct DmaContext {
  DmaContext(Mm& kernel_mm, const CcPlatform& platform, const DmaConfig& dma_config);
  // SWIOTLB, atomic pools and default IOMMU domains, in the order of the kernel's initcalls.
  Result<void> boot();

  Mm& mm;
  const CcPlatform& cc;
  const DmaConfig config;
  const DirectMap dma_direct_map;
  Tracer& tracer;
  const std::uint64_t me_mask;          // sme_me_mask
  const std::uint64_t encryption_mask;  // the same, or MKTME's KeyID bits
  const PhysAddr last_page;             // (max_pfn - 1) << PAGE_SHIFT
  IommuMode iommu = IommuMode::none;

  AtomicPools atomic_pools;
  // io_tlb_default_mem.force_bounce; also without memory for the pool.
  bool swiotlb_force_bounce = false;
  std::unique_ptr<Swiotlb> swiotlb;  // may own memory of the atomic pools
  IommuDma iommu_dma;
  std::map<VirtAddr, CoherentAllocation> coherent;
  std::map<VirtAddr, CoherentAllocation> pages;  // of dma_alloc_pages(), by what it returned

  struct Sites {
    SiteId alloc;    // dma_direct_alloc's memset
    SiteId pool;     // dma_alloc_from_pool's memset
    SiteId padding;  // iommu_dma_map_page's cleanup of bounce padding
  } sites;

  // dev->dma_io_tlb_mem; nullptr: none.
  [[nodiscard]] Swiotlb* pool(const Device& dev) const {
    return dev.restricted_pool != nullptr ? dev.restricted_pool : swiotlb.get();
  }

  // One decision: `text()` gives the rule in words, `source` the function that decides.
  template <class Text>
  void step(const paging::Mmu& cpu, std::string_view source, Text&& text) {
    if (tracer.enabled()) [[unlikely]]
      tracer.emit(cpu.agent(), StepTaken{text(), source});
  }
  template <class Text>
  void message(const paging::Mmu& cpu, Text&& text) {
    if (tracer.enabled()) [[unlikely]]
      tracer.emit(cpu.agent(), KernelMessage{text()});
  }
  template <class Text>
  void message_once(Once which, const paging::Mmu& cpu, Text&& text) {
    if (first_time(which)) message(cpu, text);
  }
  // A WARN_ON, which prints where it stands: 6.19 turned the line around (kernel/panic.c: __warn).
  void warning(const paging::Mmu& cpu, std::string_view file, std::string_view function);
  void warning_once(Once which, const paging::Mmu& cpu, std::string_view file, std::string_view function);

  // Reports why the request failed; returns dma_mapping_error. `address` is the one that did not fit.
  DmaAddr fail(const DmaRequest& request, DmaFailure reason, std::uint64_t mask = 0,
               DmaAddr address = dma_mapping_error);
  // The same for a caller whose result is optional.
  std::nullopt_t fail_empty(const DmaRequest& request, DmaFailure reason, std::uint64_t mask = 0);

 private:
  [[nodiscard]] bool first_time(Once which) { return !said_[static_cast<std::size_t>(which)].exchange(true); }

  std::array<std::atomic<bool>, static_cast<std::size_t>(Once::count)> said_{};
};

}  // namespace cbit::kernel
