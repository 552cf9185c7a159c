// dma_alloc_attrs() and its kind: kernel/dma/mapping.c. dmam_*() and dma_pool_*() end there.
#include "linux/probes/dma_events.hpp"

namespace cbit::linux {
namespace {

bool enter_alloc(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_dma(c, c.pointer(0));
  ++ctx.allocations;
  return true;
}

DmaAsk coherent(std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs = {}) {
  return {.kind = DmaMappingKind::coherent, .bytes = bytes, .direction = direction, .attrs = attrs};
}

void allocated_or_failed(ProbeContext& ctx, const CallView& c, const DmaAsk& ask, VirtAddr handle) {
  --ctx.allocations;
  const Device device = ctx.device(c, c.pointer(0));
  if (c.result() == 0) return report_failure(ctx, c, device, ask);
  if (const auto dma = c.memory().load<std::uint64_t>(handle))
    report_mapped(ctx, c, device, ask, DmaAddr{*dma});
}

// dev, size, dma_handle, attrs; the CPU's address, or without a kernel mapping a struct page
void alloc(ProbeContext& ctx, CallView& c) {
  DmaAsk ask = coherent(c.argument(1), DmaDirection::bidirectional, c.attrs(3));
  const VirtAddr at{c.result()};
  if (ask.attrs.has(dma_attr::no_kernel_mapping))
    ask.phys = ctx.phys_of_page(c, at).value_or(PhysAddr{});
  else if (const auto place = c.memory().place_of(at))
    ask.phys = place->phys;
  allocated_or_failed(ctx, c, ask, c.pointer(2));
}

// dev, size, dma_handle, dir; a struct page
void alloc_pages(ProbeContext& ctx, CallView& c) {
  c.for_each_outside([](Notes& outer) { outer.reported = true; });
  DmaAsk ask = coherent(c.argument(1), c.direction(3));
  ask.phys = ctx.phys_of_page(c, VirtAddr{c.result()}).value_or(PhysAddr{});
  allocated_or_failed(ctx, c, ask, c.pointer(2));
}

// dev, size, dma_handle
void free(ProbeContext& ctx, CallView& c) {
  report_unmapped(ctx, c, ctx.name_of(c, c.pointer(0)), DmaMappingKind::coherent,
                  {DmaAddr{c.argument(2)}, {}, c.argument(1)}, DmaDirection::bidirectional, false);
}

// dev, size, dma_handle, dir
void free_pages(ProbeContext& ctx, CallView& c) {
  report_unmapped(ctx, c, ctx.name_of(c, c.pointer(0)), DmaMappingKind::coherent,
                  {DmaAddr{c.argument(2)}, {}, c.argument(1)}, c.direction(3), false);
}

std::optional<VirtAddr> first_segment(ProbeContext& ctx, const CallView& c, VirtAddr table) {
  const auto list = ctx.peek(c).pointer(table, Field::sg_table_list);
  return list ? ctx.peek(c).place(*list, Field::sg_dma_address) : std::nullopt;
}

// dev, size, dir; a struct sg_table with one segment. Without an IOMMU __dma_alloc_pages() has made it.
void alloc_noncontiguous(ProbeContext& ctx, CallView& c) {
  const auto handle = first_segment(ctx, c, VirtAddr{c.result()});
  if (c.notes().reported || (c.result() != 0 && !handle)) {
    --ctx.allocations;
    return;
  }
  DmaAsk ask = coherent(c.argument(1), c.direction(2));
  const auto list = ctx.peek(c).pointer(VirtAddr{c.result()}, Field::sg_table_list);
  if (const auto link = list ? ctx.peek(c).value(*list, Field::sg_page_link) : std::nullopt)
    ask.phys = ctx.phys_of_page(c, VirtAddr{*link & ~std::uint64_t{3}}).value_or(PhysAddr{});
  allocated_or_failed(ctx, c, ask, handle.value_or(VirtAddr{}));
}

// dev, size, sgt: the table is gone when the call returns
bool enter_free_noncontiguous(ProbeContext& ctx, CallView& c) {
  const auto handle = first_segment(ctx, c, c.pointer(2));
  const auto dma = handle ? c.memory().load<std::uint64_t>(*handle) : std::nullopt;
  if (!dma) return false;
  c.notes().segments = {{DmaAddr{*dma}, {}, c.argument(1)}};
  return true;
}

// dev, size, sgt, dir
void free_noncontiguous(ProbeContext& ctx, CallView& c) {
  report_unmapped(ctx, c, ctx.name_of(c, c.pointer(0)), DmaMappingKind::coherent, c.notes().segments.front(),
                  c.direction(3), false);
}

void alloc_from_pool(ProbeContext&, CallView& c) {
  if (c.result() == 0) c.for_each_outside([](Notes& outer) { outer.atomic_pool_empty = true; });
}

bool allocates(const ProbeContext& ctx, const CpuView&) { return ctx.allocations > 0; }

// That pages were there tells a mask that they did not fit from memory that has run out.
void page_allocator(ProbeContext&, CallView& c) {
  if (c.result() != 0) c.for_each_outside([](Notes& outer) { outer.pages_given = true; });
}

void lost_alloc(ProbeContext& ctx) { --ctx.allocations; }

constexpr ProbeRow rows[] = {
    {"dma_alloc_attrs", "dev size dma_handle attrs", "", enter_alloc, alloc, lost_alloc},
    {"dma_free_attrs", "dev size dma_handle", "", nullptr, free},
    {"__dma_alloc_pages", "dev size dma_handle dir", "", enter_alloc, alloc_pages, lost_alloc},
    {"dma_free_pages", "dev size dma_handle dir", "", nullptr, free_pages},
    {"dma_alloc_noncontiguous", "dev size dir", "", enter_alloc, alloc_noncontiguous, lost_alloc},
    {"dma_free_noncontiguous", "dev size sgt dir", "", enter_free_noncontiguous, free_noncontiguous},
    {"dma_direct_alloc_from_pool", "", "", nullptr, alloc_from_pool},
    {.function = "__alloc_pages",
     .unless = "__alloc_pages_noprof",
     .returned = page_allocator,
     .wanted = allocates},
    {.function = "__alloc_pages_noprof", .returned = page_allocator, .wanted = allocates},
};

}  // namespace

std::span<const ProbeRow> dma_alloc_rows() { return rows; }

}  // namespace cbit::linux
