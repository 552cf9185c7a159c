// dma_map_page_attrs() and its kind: kernel/dma/mapping.c.
#include "base/format.hpp"
#include "linux/probes/dma_events.hpp"

namespace cbit::linux {
namespace {

bool enter_map(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_dma(c, c.pointer(0));
  return true;
}

// dev, (page, offset), size, dir, attrs
DmaAsk page_ask(ProbeContext& ctx, const CallView& c) {
  const auto phys = ctx.phys_of_page(c, c.pointer(1));
  return {.kind = DmaMappingKind::page,
          .phys = phys.value_or(PhysAddr{}) + c.argument(2),
          .bytes = c.argument(3),
          .direction = c.direction(4),
          .attrs = c.attrs(5),
          .is_memory = phys.has_value()};
}

// dev, phys, size, dir, attrs
DmaAsk phys_ask(const CallView& c, DmaMappingKind kind) {
  return {.kind = kind,
          .phys = PhysAddr{c.argument(1)},
          .bytes = c.argument(2),
          .direction = c.direction(3),
          .attrs = c.attrs(4)};
}

void mapped_or_failed(ProbeContext& ctx, const CallView& c, const DmaAsk& ask) {
  const DmaAddr dma{c.result()};
  const Device device = ctx.device(c, c.pointer(0));
  if (dma == dma_mapping_error) return report_failure(ctx, c, device, ask);
  report_mapped(ctx, c, device, ask, dma);
}

// BUG_ON(!valid_dma_direction(dir)) comes before anything else: the call does not return.
bool enter_page(ProbeContext& ctx, CallView& c) {
  if (c.direction(4) != DmaDirection::none) return enter_map(ctx, c);
  report_failure(ctx, c, ctx.device(c, c.pointer(0)), page_ask(ctx, c));
  return false;
}

bool enter_phys(ProbeContext& ctx, CallView& c) {
  if (c.direction(3) != DmaDirection::none) return enter_map(ctx, c);
  report_failure(ctx, c, ctx.device(c, c.pointer(0)), phys_ask(c, DmaMappingKind::page));
  return false;
}

void map_page(ProbeContext& ctx, CallView& c) { mapped_or_failed(ctx, c, page_ask(ctx, c)); }

void map_resource(ProbeContext& ctx, CallView& c) {
  mapped_or_failed(ctx, c, phys_ask(c, DmaMappingKind::resource));
}

DmaMappingKind kind_by_attrs(DmaAttrs attrs) {
  return attrs.has(dma_attr::mmio) ? DmaMappingKind::resource : DmaMappingKind::page;
}

// 6.18: pages and resources, told apart by an attribute.
void map_phys(ProbeContext& ctx, CallView& c) {
  mapped_or_failed(ctx, c, phys_ask(c, kind_by_attrs(c.attrs(4))));
}

// dev, addr, size, dir, attrs
void unmap_as(ProbeContext& ctx, const CallView& c, DmaMappingKind kind) {
  report_unmapped(ctx, c, ctx.name_of(c, c.pointer(0)), kind, {DmaAddr{c.argument(1)}, {}, c.argument(2)},
                  c.direction(3), !c.notes().copied_back.empty());
}

void unmap_page(ProbeContext& ctx, CallView& c) { unmap_as(ctx, c, DmaMappingKind::page); }
void unmap_resource(ProbeContext& ctx, CallView& c) { unmap_as(ctx, c, DmaMappingKind::resource); }
void unmap_phys(ProbeContext& ctx, CallView& c) { unmap_as(ctx, c, kind_by_attrs(c.attrs(4))); }

// dev, addr, size, dir
void sync(ProbeContext& ctx, const CallView& c, bool for_cpu) {
  const Notes& notes = c.notes();
  ctx.emit(c, DmaSynced{.device = ctx.name_of(c, c.pointer(0)),
                        .dma = DmaAddr{c.argument(1)},
                        .bytes = c.argument(2),
                        .direction = c.direction(3),
                        .for_cpu = for_cpu,
                        .copied = !notes.copied_back.empty() || !notes.copied_in.empty()});
}
void sync_for_cpu(ProbeContext& ctx, CallView& c) { sync(ctx, c, true); }
void sync_for_device(ProbeContext& ctx, CallView& c) { sync(ctx, c, false); }

constexpr std::string_view page_map = "dev page offset size dir attrs";
constexpr std::string_view resource_map = "dev phys_addr size dir attrs";
constexpr std::string_view unmap_range = "dev addr size dir attrs";
constexpr std::string_view sync_range = "dev addr size dir";

// dma_map_single() is inline on top of the page's. Since 6.10 the inline wrappers of sync skip the call while
// the device needs none.
constexpr ProbeRow dma_calls[] = {
    {"dma_map_page_attrs", page_map, "dma_map_phys", enter_page, map_page},
    {"dma_map_resource", resource_map, "dma_map_phys", enter_phys, map_resource},
    {"dma_map_phys", "dev phys size dir attrs", "", enter_phys, map_phys},
    {"dma_unmap_page_attrs", unmap_range, "dma_unmap_phys", nullptr, unmap_page},
    {"dma_unmap_resource", unmap_range, "dma_unmap_phys", nullptr, unmap_resource},
    {"dma_unmap_phys", unmap_range, "", nullptr, unmap_phys},
    {"dma_sync_single_for_cpu", sync_range, "__dma_sync_single_for_cpu", nullptr, sync_for_cpu},
    {"dma_sync_single_for_device", sync_range, "__dma_sync_single_for_device", nullptr, sync_for_device},
    {"__dma_sync_single_for_cpu", sync_range, "", nullptr, sync_for_cpu},
    {"__dma_sync_single_for_device", sync_range, "", nullptr, sync_for_device},
};

}  // namespace

std::span<const ProbeRow> dma_rows() { return dma_calls; }

}  // namespace cbit::linux
