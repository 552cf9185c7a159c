// IOMMU domains: drivers/iommu/iommu.c, and the DMA API on top of them, drivers/iommu/dma-iommu.c.
#include "linux/probes/dma_events.hpp"

namespace cbit::linux {
namespace {

// domain, iova, paddr, size. The entries themselves are the machine's to read: which device asks is not known
// here.
void map(ProbeContext& ctx, CallView& c) {
  if (c.int_result() != 0) {
    c.for_each_outside([](Notes& outer) { outer.iommu_refused = true; });
    return;
  }
  ctx.emit(c, IommuMapped{.domain = ctx.domain(c.pointer(0)),
                          .iova = DmaAddr{c.argument(1)},
                          .phys = PhysAddr{c.argument(2)},
                          .bytes = c.argument(3),
                          .encrypted = ctx.iommu_encrypts(c)});
}

// domain, iova; the bytes that were mapped
void iommu_unmap(ProbeContext& ctx, CallView& c) {
  if (c.result() == 0) return;
  ctx.emit(c, IommuUnmapped{ctx.domain(c.pointer(0)), DmaAddr{c.argument(1)}, c.result()});
}

void alloc_iova(ProbeContext&, CallView& c) {
  if (c.result() == 0) c.for_each_outside([](Notes& outer) { outer.no_iova = true; });
}

// dev, size, dir, attrs, page, offset: up to 6.6 the whole bounce buffer is zeroed after the copy, where the
// data flows from the device or is not synced: what the device does not write comes back as zeros.
void bounced(ProbeContext& ctx, CallView& c) {
  const Notes& notes = c.notes();
  const DmaDirection direction = c.direction(2);
  const bool to_device = direction == DmaDirection::to_device || direction == DmaDirection::bidirectional;
  const bool cleared = !to_device || c.attrs(3).has(dma_attr::skip_cpu_sync);
  if (!notes.bounced || notes.released || !cleared || pads_slots(ctx.peek(c).fields()) ||
      notes.copied_in.empty())
    return;
  const PhysAddr phys = ctx.phys_of_page(c, c.pointer(4)).value_or(PhysAddr{}) + c.argument(5);
  ctx.emit(c, SwiotlbCleared{ctx.name_of(c, c.pointer(0)), phys, notes.copied_in.front(),
                             align_up(c.argument(1), page_size)});
}

// ---- mappings in pieces: dma_iova_*(), Linux 6.16 ---------------------------------------------------------

std::optional<DmaAddr> iova_of(ProbeContext& ctx, const CallView& c, std::uint64_t offset) {
  const auto start = ctx.peek(c).value(c.pointer(1), Field::iova_state_address);
  return start ? std::optional{DmaAddr{*start + offset}} : std::nullopt;
}

bool enter_link(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_dma(c, c.pointer(0));
  return true;
}

// dev, state, phys, offset, size, dir, attrs
void link(ProbeContext& ctx, CallView& c) {
  const DmaAttrs attrs = c.attrs(6);
  const DmaAsk ask{.kind = attrs.has(dma_attr::mmio) ? DmaMappingKind::resource : DmaMappingKind::page,
                   .phys = PhysAddr{c.argument(2)},
                   .bytes = c.argument(4),
                   .direction = c.direction(5),
                   .attrs = attrs};
  const Device device = ctx.device(c, c.pointer(0));
  if (c.int_result() != 0) return report_failure(ctx, c, device, ask);
  if (const auto dma = iova_of(ctx, c, c.argument(3))) report_mapped(ctx, c, device, ask, *dma);
}

// A range, and with it all pieces that were linked in it.
void unlink_range(ProbeContext& ctx, const CallView& c, DmaAddr first, std::uint64_t bytes) {
  const NameId device = ctx.name_of(c, c.pointer(0));
  for (const auto& [dma, entry] : ctx.ledger().in_range(device, first, bytes))
    report_unmapped(ctx, c, device, entry.kind, {dma, {}, entry.bytes}, entry.direction,
                    !c.notes().copied_back.empty());
}

// dev, state, offset, size
void unlink(ProbeContext& ctx, CallView& c) {
  if (const auto first = iova_of(ctx, c, c.argument(2))) unlink_range(ctx, c, *first, c.argument(3));
}

// dev, state, mapped_len
void destroy(ProbeContext& ctx, CallView& c) {
  if (const auto first = iova_of(ctx, c, 0)) unlink_range(ctx, c, *first, c.argument(2));
}

constexpr std::string_view map_range = "domain iova paddr size";

constexpr ProbeRow iommu_calls[] = {
    {"__iommu_map", map_range, "iommu_map_nosync", nullptr, map},
    {"iommu_map_nosync", map_range, "", nullptr, map},
    {"__iommu_unmap", "domain iova", "", nullptr, iommu_unmap},
    {"iommu_dma_alloc_iova", "", "", nullptr, alloc_iova},
    {.function = "iommu_dma_map_page",
     .parameters = "dev size dir attrs page offset",
     .returned = bounced,
     .some_versions = true},
    {.function = "dma_iova_link",
     .parameters = "dev state phys offset size dir attrs",
     .entered = enter_link,
     .returned = link,
     .some_versions = true},
    {.function = "dma_iova_unlink",
     .parameters = "dev state offset size",
     .returned = unlink,
     .some_versions = true},
    {.function = "dma_iova_destroy",
     .parameters = "dev state mapped_len",
     .returned = destroy,
     .some_versions = true},
};

}  // namespace

std::span<const ProbeRow> iommu_rows() { return iommu_calls; }

}  // namespace cbit::linux
