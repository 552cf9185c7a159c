// Memory that is freed while a device may reach it: mm/slub.c, mm/page_alloc.c.
//
// These functions are called all the time. What is asked first is whether any streaming mapping covers a page
// of what is freed.
#include <algorithm>

#include "linux/probes/context.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint64_t order_max = 10;

// Where a function finds its arguments: System V ABI, AMD64 supplement, 3.2.3.
constexpr CpuView::Register first = CpuView::rdi, second = CpuView::rsi;

void report(ProbeContext& ctx, const CallView& c, PhysAddr from, std::uint64_t bytes) {
  for (const MappingLedger::Mapped& mapped : ctx.ledger().free_memory(from, bytes))
    ctx.emit(c, MappedMemoryFreed{mapped.device, mapped.dma, from});
}

// kfree(object), kmem_cache_free(cache, object): how long it is only its cache knows, so a mapping must cover
// its first byte.
template <CpuView::Register argument>
bool is_mapped_object(const ProbeContext& ctx, const CpuView& cpu) {
  if (!ctx.ledger().maps_memory()) return false;
  const auto phys = ctx.phys_of_direct_map(cpu, VirtAddr{cpu.gpr[argument]});
  return phys && ctx.ledger().maps_page(*phys);
}

template <CpuView::Register argument>
bool object_freed(ProbeContext& ctx, CallView& c) {
  if (const auto phys = ctx.phys_of_direct_map(c.cpu(), VirtAddr{c.cpu().gpr[argument]}))
    report(ctx, c, *phys, 1);
  return false;
}

// (page, order, ...), once nobody holds the pages any more.
std::uint64_t pages_of(const CpuView& cpu) {
  return 1ull << std::min<std::uint64_t>(static_cast<std::uint32_t>(cpu.gpr[second]), order_max);
}

bool are_mapped_pages(const ProbeContext& ctx, const CpuView& cpu) {
  if (!ctx.ledger().maps_memory()) return false;
  const auto phys = ctx.phys_of_page(cpu, VirtAddr{cpu.gpr[first]});
  if (!phys) return false;
  for (std::uint64_t i = 0; i < pages_of(cpu); ++i)
    if (ctx.ledger().maps_page(*phys + i * page_size)) return true;
  return false;
}

bool pages_freed(ProbeContext& ctx, CallView& c) {
  if (const auto phys = ctx.phys_of_page(c.cpu(), VirtAddr{c.cpu().gpr[first]}))
    report(ctx, c, *phys, pages_of(c.cpu()) * page_size);
  return false;
}

template <CpuView::Register object>
constexpr ProbeRow object_row(std::string_view function) {
  return {.function = function,
          .parameters = "",
          .unless = "",
          .entered = object_freed<object>,
          .wanted = is_mapped_object<object>};
}

constexpr ProbeRow page_row(std::string_view function) {
  return {.function = function,
          .parameters = "",
          .unless = "",
          .entered = pages_freed,
          .wanted = are_mapped_pages,
          .some_versions = true};
}

// Which of the page allocator's own functions a kernel has differs: 6.1 and 6.12 have the first and the last,
// 6.17 and 7.2 the last two.
constexpr ProbeRow free_calls[] = {
    object_row<first>("kfree"),      object_row<second>("kmem_cache_free"), page_row("free_unref_page"),
    page_row("__free_frozen_pages"), page_row("__free_pages_ok"),
};

}  // namespace

std::span<const ProbeRow> free_rows() { return free_calls; }

}  // namespace cbit::linux
