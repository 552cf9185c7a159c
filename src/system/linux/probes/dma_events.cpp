#include "linux/probes/dma_events.hpp"

namespace cbit::linux {
namespace {

DmaPath path_of(const CallView& c, const Device& device) {
  if (device.iommu) return DmaPath::iommu;
  return c.notes().bounced ? DmaPath::swiotlb : DmaPath::direct;
}

// Behind an IOMMU its entry says it; else the address itself carries the bit.
bool is_encrypted(ProbeContext& ctx, const CallView& c, const Device& device, DmaAddr dma) {
  if (!device.iommu) return (dma.value() & ctx.encryption_mask(c)) != 0;
  const auto leaf = device.requester ? ctx.observer().iommu_leaf(*device.requester, dma) : std::nullopt;
  return leaf && leaf->encrypted;
}

bool fits(std::uint64_t last, std::uint64_t mask) { return mask == 0 || last <= mask; }

// Streaming mappings, in the order in which kernel/dma/direct.h and drivers/iommu/dma-iommu.c decide.
DmaFailure why_not_mapped(ProbeContext& ctx, const CallView& c, const Device& device, const DmaAsk& ask,
                          std::uint64_t mask) {
  const Notes& notes = c.notes();
  if (ask.direction == DmaDirection::none) return DmaFailure::invalid_direction;
  if (ask.bytes == 0) return DmaFailure::invalid_size;
  if (!ask.is_memory) return DmaFailure::invalid_memory;
  if (!device.dma_mask) return DmaFailure::mask_unset;
  if (notes.no_pool) return DmaFailure::no_pool;
  if (notes.pool_full) return DmaFailure::pool_full;
  if (notes.bounced && notes.released)
    return device.iommu ? DmaFailure::iommu_map : DmaFailure::pool_beyond_mask;
  if (ask.attrs.has(dma_attr::require_coherent | dma_attr::cc_shared)) return DmaFailure::attribute;
  if (ask.kind == DmaMappingKind::resource) {
    const bool reaches = ask.attrs.has(dma_attr::mmio) && fits((ask.phys + (ask.bytes - 1)).value(), mask);
    return reaches ? DmaFailure::p2pdma_bounce : DmaFailure::resource_mask;
  }
  if (!ctx.observer().is_ram(ask.phys)) return DmaFailure::p2pdma_bounce;
  if (!device.iommu) return DmaFailure::mask_overflow;
  if (notes.no_iova) return DmaFailure::iova_exhausted;
  return notes.iommu_refused ? DmaFailure::iommu_map : DmaFailure::no_pool;
}

DmaFailure why_not_allocated(const CallView& c, const Device& device, const DmaAsk& ask) {
  const Notes& notes = c.notes();
  if (ask.bytes == 0) return DmaFailure::invalid_size;
  if (notes.conversion_failed) return DmaFailure::conversion_failed;
  if (notes.atomic_pool_empty) return DmaFailure::atomic_pool_empty;
  if (notes.no_iova) return DmaFailure::iova_exhausted;
  if (notes.iommu_refused) return DmaFailure::iommu_map;
  if (device.iommu) return notes.pages_given ? DmaFailure::attribute : DmaFailure::no_memory;
  return notes.pages_given ? DmaFailure::coherent_mask : DmaFailure::no_memory;
}

}  // namespace

void report_mapped(ProbeContext& ctx, const CallView& c, const Device& device, const DmaAsk& ask,
                   DmaAddr dma) {
  const NameId name = ctx.name_of(device.name);
  ctx.ledger().add(name, dma, {ask.phys, ask.bytes, ask.kind, ask.direction, c.notes().site});
  ctx.emit(c, DmaMapped{.device = name,
                        .kind = ask.kind,
                        .dma = dma,
                        .phys = ask.phys,
                        .bytes = ask.bytes,
                        .direction = ask.direction,
                        .path = path_of(c, device),
                        .encrypted = is_encrypted(ctx, c, device, dma)});
}

void report_failure(ProbeContext& ctx, const CallView& c, const Device& device, const DmaAsk& ask) {
  const bool coherent = ask.kind == DmaMappingKind::coherent;
  const std::uint64_t mask = device.limit(coherent ? device.coherent_mask : device.dma_mask.value_or(0));
  const DmaFailure reason =
      coherent ? why_not_allocated(c, device, ask) : why_not_mapped(ctx, c, device, ask, mask);
  const bool has_address = reason == DmaFailure::mask_overflow || reason == DmaFailure::resource_mask;
  const std::uint64_t bit = reason == DmaFailure::mask_overflow ? ctx.encryption_mask(c) : 0;
  ctx.emit(c, DmaMapFailed{.device = ctx.name_of(device.name),
                           .kind = ask.kind,
                           .phys = ask.phys,
                           .bytes = ask.bytes,
                           .reason = reason,
                           .mask = mask,
                           .address = has_address ? DmaAddr{ask.phys.value() | bit} : DmaAddr{}});
}

void report_unmapped(ProbeContext& ctx, const CallView& c, NameId device, DmaMappingKind kind,
                     const Notes::Segment& segment, DmaDirection direction, bool copied_back) {
  if (segment.dma == dma_mapping_error) {
    ctx.emit(c, DmaDebugReport{.device = device,
                               .kind = DmaDebugKind::invalid_free,
                               .dma = segment.dma,
                               .bytes = segment.bytes,
                               .text = "device driver tries to free an invalid DMA memory address"});
    return;
  }
  // Before the kernel was watched it made mappings that nobody can tell from mistakes.
  if (!ctx.ledger().remove(device, segment.dma, segment.bytes) && !ctx.complete) return;
  ctx.emit(c, DmaUnmapped{.device = device,
                          .kind = kind,
                          .dma = segment.dma,
                          .bytes = segment.bytes,
                          .direction = direction,
                          .copied_back = copied_back});
}

}  // namespace cbit::linux
