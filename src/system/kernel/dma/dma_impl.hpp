// What the calls of kernel::Dma share: the kernel's state, checks before a mapping, and what is told of it.
#pragma once

#include "kernel/dma/debug.hpp"
#include "kernel/dma/direct.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit::kernel {

constexpr std::string_view mapping_c = "kernel/dma/mapping.c";

// VMALLOC_START .. VMALLOC_END, arch/x86/include/asm/pgtable_64_types.h.
[[nodiscard]] bool is_vmalloc_addr(Mm& mm, VirtAddr at);

struct Dma::Impl {
  Impl(Mm& mm, const CcPlatform& cc, const DmaConfig& config) : ctx{mm, cc, config} {
    if (config.debug) debug.emplace(ctx);
  }

  DmaContext ctx;
  std::optional<DmaDebug> debug;

  // get_dma_ops() == NULL
  static bool direct(const Device& dev) { return dev.iommu == nullptr; }

  // BUG_ON(!valid_dma_direction(dir)): reported, and the call has no effect.
  bool direction_ok(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                    std::string_view function);
  // What map_page, map_sg and map_resource check first.
  bool mask_set(const DmaRequest& request, std::string_view function);
  bool attrs_known(const DmaRequest& request);
  bool is_page(const DmaRequest& request);
  bool can_share(const DmaRequest& request);
  // False, with the reason.
  template <class Text>
  bool refuse(const DmaRequest& request, Text&& text) {
    ctx.step(request.cpu, "kernel/dma/mapping.c: dma_map_phys", text);
    ctx.fail(request, DmaFailure::attribute);
    return false;
  }
  bool in_ram(const DmaRequest& request);

  DmaAddr map(const DmaRequest& request);
  DmaAddr map_page(const DmaRequest& request);
  DmaAddr map_resource(DmaRequest request);
  void unmap(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
             DmaAttrs attrs, DmaMappingKind kind);
  void sync_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                   bool for_cpu);
  bool sync_entry(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                  bool for_cpu);
  void sync_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
               bool for_cpu);
  Result<std::size_t, Errno> map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                    DmaDirection direction, DmaAttrs attrs);
  std::optional<PhysAddr> phys_of(paging::Mmu& cpu, VirtAddr at);

  [[nodiscard]] DmaReach reach(const Device& dev, DmaAddr dma, DmaAttrs attrs = {}) const;
  void report_mapped(const DmaRequest& request, DmaAddr dma);
  void report_unmapped(const paging::Mmu& cpu, const Device& dev, DmaMappingKind kind, DmaAddr dma,
                       std::uint64_t bytes, DmaDirection direction, bool copied_back);
  void report_synced(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                     DmaDirection direction, bool for_cpu, bool copied);
  void report_sg_mapped(paging::Mmu& cpu, Device& dev, std::span<const ScatterEntry> segments, bool merged,
                        DmaDirection direction);
  bool will_copy_back(const Device& dev, DmaAddr dma, DmaDirection direction, DmaAttrs attrs);
};

}  // namespace cbit::kernel
