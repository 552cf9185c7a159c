#include "kernel/dma/dma_impl.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::kernel {
namespace {

constexpr std::uint64_t sg_length_max = bit_mask(32);

bool valid_dma_direction(DmaDirection direction) {
  return direction == DmaDirection::bidirectional || direction == DmaDirection::to_device ||
         direction == DmaDirection::from_device;
}

}  // namespace

bool is_vmalloc_addr(Mm& mm, VirtAddr at) {
  const bool five_levels = mm.machine().config().paging_levels == 5;
  const VirtAddr start = five_levels ? vmalloc_base_l5 : vmalloc_base;
  const std::uint64_t tebibytes = five_levels ? 12800 : 32;
  return at >= start && at - start < tebibytes << 40;
}

// ---- reports ---------------------------------------------------------------------------------------------

DmaReach Dma::Impl::reach(const Device& dev, DmaAddr dma, DmaAttrs attrs) const {
  if (!direct(dev)) {
    const PhysAddr phys = iommu_iova_to_phys(dev, dma).value_or(PhysAddr{});
    return {DmaPath::iommu, iommu_dma::leaf_selector(ctx, phys, attrs) != 0};
  }
  const bool bounced = is_swiotlb_buffer(ctx, dev, dma_to_phys(ctx, dma));
  return {bounced ? DmaPath::swiotlb : DmaPath::direct,
          dev.accepted || (dma.value() & ctx.encryption_mask) != 0};
}

void Dma::Impl::report_mapped(const DmaRequest& request, DmaAddr dma) {
  if (!ctx.tracer.enabled() || dma == dma_mapping_error) return;
  auto [path, encrypted] = reach(request.dev, dma, request.attrs);
  // Memory of a restricted pool that was allocated from it is nobody's copy.
  if (path == DmaPath::swiotlb && request.kind == DmaMappingKind::coherent) path = DmaPath::direct;
  ctx.tracer.emit(request.cpu.agent(), DmaMapped{.device = request.dev.name_id,
                                                 .kind = request.kind,
                                                 .dma = dma,
                                                 .phys = request.phys,
                                                 .bytes = request.bytes,
                                                 .direction = request.direction,
                                                 .path = path,
                                                 .encrypted = encrypted});
}

void Dma::Impl::report_unmapped(const paging::Mmu& cpu, const Device& dev, DmaMappingKind kind, DmaAddr dma,
                                std::uint64_t bytes, DmaDirection direction, bool copied_back) {
  if (!ctx.tracer.enabled() || dma == dma_mapping_error) return;
  ctx.tracer.emit(cpu.agent(), DmaUnmapped{.device = dev.name_id,
                                           .kind = kind,
                                           .dma = dma,
                                           .bytes = bytes,
                                           .direction = direction,
                                           .copied_back = copied_back});
}

void Dma::Impl::report_synced(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                              DmaDirection direction, bool for_cpu, bool copied) {
  if (!ctx.tracer.enabled()) return;
  ctx.tracer.emit(cpu.agent(), DmaSynced{.device = dev.name_id,
                                         .dma = dma,
                                         .bytes = bytes,
                                         .direction = direction,
                                         .for_cpu = for_cpu,
                                         .copied = copied});
}

// One event per DMA segment; where entries were merged, the IOMMU knows which memory a segment starts at.
void Dma::Impl::report_sg_mapped(paging::Mmu& cpu, Device& dev, std::span<const ScatterEntry> segments,
                                 bool merged, DmaDirection direction) {
  if (!ctx.tracer.enabled()) return;
  for (const ScatterEntry& segment : segments) {
    const auto phys = merged ? iommu_iova_to_phys(dev, segment.dma) : segment.phys;
    report_mapped(
        {cpu, dev, phys.value_or(segment.phys), segment.dma_length, direction, {}, DmaMappingKind::sg},
        segment.dma);
  }
}

// Whether unmapping a segment will copy: its slots are gone when the whole list is unmapped.
bool Dma::Impl::will_copy_back(const Device& dev, DmaAddr dma, DmaDirection direction, DmaAttrs attrs) {
  if (direction == DmaDirection::to_device || attrs.has(dma_attr::skip_cpu_sync)) return false;
  const std::optional<PhysAddr> phys = direct(dev) ? dma_to_phys(ctx, dma) : iommu_iova_to_phys(dev, dma);
  return phys && is_swiotlb_buffer(ctx, dev, *phys);
}

// ---- checks ----------------------------------------------------------------------------------------------

bool Dma::Impl::direction_ok(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                             std::string_view function) {
  if (valid_dma_direction(direction)) [[likely]]
    return true;
  ctx.message(cpu, [] { return fmt::format("kernel BUG at {}!", mapping_c); });
  if (debug) debug->invalid_direction(cpu, dev, direction, function);
  return false;
}

bool Dma::Impl::mask_set(const DmaRequest& request, std::string_view function) {
  if (request.dev.dma_mask) [[likely]]
    return true;
  // Each function's WARN_ON_ONCE() is its own; since 6.18 that of dma_map_resource() is dma_map_phys()'s.
  Once which = Once::no_dma_mask;
  if (request.kind == DmaMappingKind::sg) which = Once::no_dma_mask_sg;
  if (request.kind == DmaMappingKind::resource && ctx.config.version < KernelVersion::v6_19)
    which = Once::no_dma_mask_resource;
  ctx.warning_once(which, request.cpu, mapping_c, function);
  ctx.fail(request, DmaFailure::mask_unset);
  return false;
}

bool Dma::Impl::attrs_known(const DmaRequest& request) {
  constexpr DmaAttrs later = dma_attr::mmio | dma_attr::require_coherent | dma_attr::cc_shared;
  if ((request.attrs & later) == (request.attrs & attrs_of(ctx.config.version))) [[likely]]
    return true;
  return refuse(request, [] {
    return std::string{
        "DMA_ATTR_MMIO does not exist before Linux 6.18, REQUIRE_COHERENT and CC_SHARED not before 7.1"};
  });
}

// [6.18] dma_map_page_attrs() is for pages. CONFIG_DMA_API_DEBUG knows those of a BAR, which belong into a
// scatterlist.
bool Dma::Impl::is_page(const DmaRequest& request) {
  if (ctx.config.version < KernelVersion::v6_19) return true;
  if (request.attrs.has(dma_attr::mmio))
    return refuse(request, [] { return std::string{"MMIO has no pages: DMA_MAPPING_ERROR"}; });
  if (!request.p2pdma || !ctx.config.debug) return true;
  ctx.warning_once(Once::zone_device_page, request.cpu, mapping_c, "dma_map_page_attrs");
  return refuse(request, [] { return std::string{"a ZONE_DEVICE page by itself: DMA_MAPPING_ERROR"}; });
}

// [7.1] There is no way to tell an IOMMU's entry that its page is shared. Scatterlists are not asked.
bool Dma::Impl::can_share(const DmaRequest& request) {
  if (!request.attrs.has(dma_attr::cc_shared) || direct(request.dev)) [[likely]]
    return true;
  return refuse(request, [] { return std::string{"DMA_ATTR_CC_SHARED behind an IOMMU: DMA_MAPPING_ERROR"}; });
}

// The kernel maps struct pages, and there are none for what is not RAM (or a P2PDMA range).
bool Dma::Impl::in_ram(const DmaRequest& request) {
  if (request.p2pdma || request.attrs.has(dma_attr::mmio) ||
      ctx.mm.machine().memory().contains(request.phys, 1)) [[likely]]
    return true;
  if (debug && request.kind == DmaMappingKind::single)
    debug->map_single_invalid(request.cpu, request.dev, ctx.mm.phys_to_virt(request.phys), request.bytes);
  ctx.fail(request, DmaFailure::invalid_memory);
  return false;
}

// ---- streaming -------------------------------------------------------------------------------------------

DmaAddr Dma::Impl::map(const DmaRequest& request) {
  const std::string_view function =
      ctx.config.version >= KernelVersion::v6_19 ? "dma_map_phys" : "dma_map_page_attrs";
  if (!direction_ok(request.cpu, request.dev, request.direction, function))
    return ctx.fail(request, DmaFailure::invalid_direction);
  if (!mask_set(request, function) || !attrs_known(request) || !can_share(request) || !in_ram(request))
    return dma_mapping_error;

  const DmaAddr dma =
      direct(request.dev) ? ctx.dma_direct_map(ctx, request) : iommu_dma_map_page(ctx, request);
  report_mapped(request, dma);
  if (debug) debug->map_page(request, dma);
  return dma;
}

// dma_map_page_attrs()
DmaAddr Dma::Impl::map_page(const DmaRequest& request) {
  return is_page(request) ? map(request) : dma_mapping_error;
}

void Dma::Impl::unmap(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                      DmaAttrs attrs, DmaMappingKind kind) {
  // dma_unmap_page_attrs() since 6.18, and since 7.1 dma_unmap_phys() behind an IOMMU: they undo nothing.
  const bool mmio = attrs.has(dma_attr::mmio) && ctx.config.version >= KernelVersion::v6_19;
  const bool cc_shared = attrs.has(dma_attr::cc_shared) && ctx.config.version >= KernelVersion::v7_2;
  if (mmio) return;
  if (!direction_ok(cpu, dev, direction, "dma_unmap_page_attrs")) return;
  if (cc_shared && !direct(dev)) return;
  const bool copied = direct(dev) ? dma_direct_unmap_page(ctx, cpu, dev, dma, bytes, direction, attrs)
                                  : iommu_dma_unmap_page(ctx, cpu, dev, dma, bytes, direction, attrs);
  report_unmapped(cpu, dev, kind, dma, bytes, direction, copied);
  if (debug) debug->unmap_page(cpu, dev, dma, bytes, direction, attrs);
}

bool Dma::Impl::sync_entry(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, bool for_cpu) {
  bool copied = false;
  if (direct(dev))
    copied = for_cpu ? dma_direct_sync_single_for_cpu(ctx, cpu, dev, dma, bytes, direction)
                     : dma_direct_sync_single_for_device(ctx, cpu, dev, dma, bytes, direction);
  else
    copied = for_cpu ? iommu_dma_sync_single_for_cpu(ctx, cpu, dev, dma, bytes, direction)
                     : iommu_dma_sync_single_for_device(ctx, cpu, dev, dma, bytes, direction);
  report_synced(cpu, dev, dma, bytes, direction, for_cpu, copied);
  return copied;
}

void Dma::Impl::sync_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                            DmaDirection direction, bool for_cpu) {
  if (!direction_ok(cpu, dev, direction, for_cpu ? "dma_sync_single_for_cpu" : "dma_sync_single_for_device"))
    return;
  sync_entry(cpu, dev, dma, bytes, direction, for_cpu);
  if (debug) debug->sync_single(cpu, dev, dma, bytes, direction, for_cpu);
}

void Dma::Impl::sync_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
                        bool for_cpu) {
  if (!direction_ok(cpu, dev, direction, for_cpu ? "dma_sync_sg_for_cpu" : "dma_sync_sg_for_device")) return;
  for (const ScatterEntry& entry : sg)
    if (entry.dma_length != 0) sync_entry(cpu, dev, entry.dma, entry.length, direction, for_cpu);
  if (debug) debug->sync_sg(cpu, dev, sg, direction, for_cpu);
}

// __dma_map_sg_attrs
Result<std::size_t, Errno> Dma::Impl::map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                             DmaDirection direction, DmaAttrs attrs) {
  const auto request_for = [&](const ScatterEntry& entry) {
    return DmaRequest{cpu, dev, entry.phys, entry.length, direction, attrs, DmaMappingKind::sg, entry.p2pdma};
  };
  const ScatterEntry first = sg.empty() ? ScatterEntry{} : sg.front();
  if (!direction_ok(cpu, dev, direction, "__dma_map_sg_attrs")) {
    ctx.fail(request_for(first), DmaFailure::invalid_direction);
    return tl::unexpected{Errno::einval};
  }
  if (!mask_set(request_for(first), "__dma_map_sg_attrs")) return std::size_t{0};
  if (!attrs_known(request_for(first))) return tl::unexpected{Errno::einval};
  for (const ScatterEntry& entry : sg) {
    if (entry.length > sg_length_max) {
      ctx.fail(request_for(entry), DmaFailure::invalid_size);
      return tl::unexpected{Errno::einval};
    }
    if (!in_ram(request_for(entry))) return tl::unexpected{Errno::einval};
  }

  const auto segments = direct(dev) ? dma_direct_map_sg(ctx, cpu, dev, sg, direction, attrs)
                                    : iommu_dma_map_sg(ctx, cpu, dev, sg, direction, attrs);
  if (segments && *segments == 0) {
    ctx.warning_once(Once::sg_errno, cpu, mapping_c, "__dma_map_sg_attrs");
    return tl::unexpected{Errno::eio};
  }
  if (!segments) return segments;
  report_sg_mapped(cpu, dev, sg.first(*segments), *segments != sg.size(), direction);
  if (debug) debug->map_sg(cpu, dev, sg, *segments, direction, attrs);
  return segments;
}

DmaAddr Dma::Impl::map_resource(DmaRequest request) {
  if (ctx.config.version >= KernelVersion::v6_19) {
    request.attrs = request.attrs | dma_attr::mmio;
    return map(request);
  }
  if (!direction_ok(request.cpu, request.dev, request.direction, "dma_map_resource"))
    return ctx.fail(request, DmaFailure::invalid_direction);
  if (!mask_set(request, "dma_map_resource")) return dma_mapping_error;
  const DmaAddr dma =
      direct(request.dev) ? dma_direct_map_resource(ctx, request) : iommu_dma_map_resource(ctx, request);
  report_mapped(request, dma);
  if (debug) debug->map_page(request, dma);
  return dma;
}

// Where a kernel address leads, for dma-debug: the direct map, or vmalloc_to_pfn().
std::optional<PhysAddr> Dma::Impl::phys_of(paging::Mmu& cpu, VirtAddr at) {
  if (ctx.mm.in_direct_map(at)) return ctx.mm.virt_to_phys(at);
  if (!is_vmalloc_addr(ctx.mm, at)) return std::nullopt;
  const auto translation = cpu.translate(at, paging::Intent::read);
  return translation ? std::optional{translation->phys} : std::nullopt;
}

}  // namespace cbit::kernel
