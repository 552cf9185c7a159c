// Memory that is freed while a device may reach it: mm/slub.c, mm/page_alloc.c.
//
// These functions are called all the time. What is asked first is whether any streaming mapping covers a page
// of what is freed.
#include <algorithm>

#include "linux/probes/context.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint64_t order_max = 10;

std::uint64_t first_argument(const CpuView& cpu) { return cpu.gpr[CpuView::rdi]; }

void report(ProbeContext& ctx, const CallView& c, PhysAddr first, std::uint64_t bytes) {
  for (const MappingLedger::Mapped& mapped : ctx.ledger().free_memory(first, bytes))
    ctx.emit(c, MappedMemoryFreed{mapped.device, mapped.dma, first});
}

// kfree(object): how long it is only its cache knows, so a mapping must cover its first byte.
bool is_mapped_object(const ProbeContext& ctx, const CpuView& cpu) {
  if (!ctx.ledger().maps_memory()) return false;
  const auto phys = ctx.phys_of_direct_map(cpu, VirtAddr{first_argument(cpu)});
  return phys && ctx.ledger().maps_page(*phys);
}

bool object_freed(ProbeContext& ctx, CallView& c) {
  if (const auto phys = ctx.phys_of_direct_map(c.cpu(), VirtAddr{first_argument(c.cpu())}))
    report(ctx, c, *phys, 1);
  return false;
}

// (page, order, ...), once nobody holds the pages any more.
std::uint64_t pages_of(const CpuView& cpu) {
  return 1ull << std::min<std::uint64_t>(static_cast<std::uint32_t>(cpu.gpr[CpuView::rsi]), order_max);
}

bool are_mapped_pages(const ProbeContext& ctx, const CpuView& cpu) {
  if (!ctx.ledger().maps_memory()) return false;
  const auto phys = ctx.phys_of_page(cpu, VirtAddr{first_argument(cpu)});
  if (!phys) return false;
  for (std::uint64_t i = 0; i < pages_of(cpu); ++i)
    if (ctx.ledger().maps_page(*phys + i * page_size)) return true;
  return false;
}

bool pages_freed(ProbeContext& ctx, CallView& c) {
  if (const auto phys = ctx.phys_of_page(c.cpu(), VirtAddr{first_argument(c.cpu())}))
    report(ctx, c, *phys, pages_of(c.cpu()) * page_size);
  return false;
}

constexpr ProbeRow page_row(std::string_view function) {
  return {.function = function,
          .parameters = "",
          .unless = "",
          .entered = pages_freed,
          .wanted = are_mapped_pages,
          .some_versions = true};
}

// Which of the page allocator's own functions a kernel has differs: 6.1 has the first and the last.
constexpr ProbeRow rows[] = {
    {.function = "kfree",
     .parameters = "",
     .unless = "",
     .entered = object_freed,
     .wanted = is_mapped_object},
    page_row("free_unref_page"),
    page_row("__free_frozen_pages"),
    page_row("__free_pages_ok"),
};

}  // namespace

std::span<const ProbeRow> free_rows() { return rows; }

}  // namespace cbit::linux
