#include "base/cost.hpp"
#include "kernel/mm/mm_impl.hpp"

namespace cbit::kernel {

void Mm::Impl::flush_tlb(const paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool force_full) {
  if (force_full || count > tlb_single_page_flush_ceiling) return flush_tlb_all(cpu);
  for (paging::Mmu& each : cpus) each.flush_range(at, count * page_size);
  ++cost.tlb_flushes;
  tracer.emit(cpu.agent(), Flush{FlushKind::tlb_range, count, cpu.site()}, count * cost::tlb_flush_page_ns);
}

void Mm::Impl::flush_tlb_all(const paging::Mmu& cpu) {
  for (paging::Mmu& each : cpus) each.flush_all();
  ++cost.tlb_flushes;
  ++cost.tlb_full_flushes;
  tracer.emit(cpu.agent(), Flush{FlushKind::tlb_full, 1, cpu.site()}, cost::tlb_flush_full_ns);
}

void Mm::Impl::clflush(const paging::Mmu& cpu, const std::vector<mem::PhysRange>& ranges) {
  std::uint64_t lines = 0;
  for (const mem::PhysRange& range : ranges) {
    memory.flush(range.first, range.bytes);
    lines += range.bytes / cache_line_size;
  }
  cost.cache_lines_flushed += lines;
  tracer.emit(cpu.agent(), Flush{FlushKind::clflush, lines, cpu.site()}, lines * cost::clflush_line_ns);
}

void Mm::Impl::wbinvd(const paging::Mmu& cpu) {
  memory.flush_all();
  tracer.emit(cpu.agent(), Flush{FlushKind::wbinvd, 1, cpu.site()}, cost::wbinvd_ns);
}

}  // namespace cbit::kernel
