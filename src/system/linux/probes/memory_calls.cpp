// Page attributes and mappings besides the direct map: arch/x86/mm/pat/set_memory.c,
// arch/x86/mm/mem_encrypt_amd.c, mm/vmalloc.c, arch/x86/mm/ioremap.c.
#include <algorithm>

#include "linux/probes/context.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint64_t pages_max = 1 << 20;  // of one call: 4 GiB

using AliasRun = ProbeContext::AliasRun;

// The physically contiguous parts of a virtual range, as the page tables have them now. `encrypted` splits,
// too.
struct Run : AliasRun {
  bool encrypted = false;
};
std::vector<Run> runs_of(const GuestMemory& memory, VirtAddr first, std::uint64_t pages) {
  std::vector<Run> runs;
  for (std::uint64_t i = 0; i < std::min(pages, pages_max); ++i) {
    const VirtAddr at = first.page() + i * page_size;
    const auto place = memory.place_of(at);
    if (!place) continue;
    const PhysAddr phys = place->phys.page();
    if (!runs.empty() && runs.back().first + runs.back().pages * page_size == phys &&
        runs.back().at + runs.back().pages * page_size == at && runs.back().encrypted == place->encrypted)
      ++runs.back().pages;
    else
      runs.push_back({{at, phys, 1}, place->encrypted});
  }
  return runs;
}

// ---- conversions -----------------------------------------------------------------------------------------

// addr, numpages, enc
bool enter_conversion(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_conversion(c);
  return true;
}

void conversion(ProbeContext& ctx, CallView& c) {
  if (c.int_result() != 0) {
    c.for_each_outside([](Notes& outer) { outer.conversion_failed = true; });
    return;
  }
  const bool encrypted = (c.argument(2) & 0xff) != 0;
  const auto pages = static_cast<std::uint32_t>(c.argument(1));
  for (const Run& run : runs_of(c.memory(), c.pointer(0), pages)) {
    // Another mapping that gets another attribute is another mapping, but the direct map and that of the
    // kernel's image, which change together: cpa_process_alias() of arch/x86/mm/pat/set_memory.c.
    const bool alias = !ctx.in_direct_map(c, run.at, run.first) && !ctx.in_image(run.at);
    if (alias) ctx.emit(c, MappingRemoved{run.at, run.first, run.pages});
    ctx.emit(c, PageConversion{run.first, run.pages, encrypted, false, c.notes().site});
    if (alias) ctx.emit(c, MappingAdded{"vmap", run.at, run.first, run.pages, encrypted, c.notes().site});
  }
}

// vaddr, size, enc: the contents are converted as well.
void early_conversion(ProbeContext& ctx, CallView& c) {
  if (c.int_result() != 0 || ctx.encryption_mask(c) == 0) return;
  const VirtAddr first = c.pointer(0).page();
  const std::uint64_t end = c.argument(0) + c.argument(1);
  const std::uint64_t pages = end > first.value() ? align_up(end - first.value(), page_size) / page_size : 0;
  for (const Run& run : runs_of(c.memory(), first, pages))
    ctx.emit(c, PageConversion{run.first, run.pages, (c.argument(2) & 0xff) != 0, true, c.notes().site});
}

// ---- mappings --------------------------------------------------------------------------------------------

void added(ProbeContext& ctx, const CallView& c, std::string_view kind, std::uint64_t pages) {
  const VirtAddr at{c.result()};
  if (c.result() == 0 || ctx.aliases.size() == ProbeContext::aliases_max) return;
  std::vector<AliasRun>& kept = ctx.aliases[at.page()];
  for (const Run& run : runs_of(c.memory(), at, pages)) {
    kept.push_back(run);
    ctx.emit(c, MappingAdded{kind, run.at, run.first, run.pages, run.encrypted, c.notes().site});
  }
}

bool enter_mapping(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.site_of(c.returns_to(), true);
  return true;
}

bool enter_remap(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_dma(c, VirtAddr{});
  return true;
}

// pages, count
void vmap(ProbeContext& ctx, CallView& c) {
  added(ctx, c, "vmap", static_cast<std::uint32_t>(c.argument(1)));
}

// phys_addr, size
void ioremap(ProbeContext& ctx, CallView& c) {
  const std::uint64_t bytes = c.argument(0) % page_size + c.argument(1);
  added(ctx, c, "ioremap", align_up(bytes, page_size) / page_size);
}

void removed(ProbeContext& ctx, const CallView& c, VirtAddr key) {
  const auto found = ctx.aliases.find(key);
  if (found == ctx.aliases.end()) return;
  for (const AliasRun& run : found->second) ctx.emit(c, MappingRemoved{run.at, run.first, run.pages});
  ctx.aliases.erase(found);
}

// vma, addr, pfn, size, prot: into a process, up to the end of the vm_area_struct.
void remap(ProbeContext& ctx, CallView& c) {
  if (c.int_result() != 0 || ctx.aliases.size() == ProbeContext::aliases_max) return;
  const AliasRun run{c.pointer(1), PhysAddr{c.argument(2) * page_size},
                     align_up(c.argument(3), page_size) / page_size};
  const bool encrypted = (c.argument(4) & ctx.encryption_mask(c)) != 0;
  ctx.aliases[c.pointer(0)].push_back(run);
  ctx.emit(c, MappingAdded{"user", run.at, run.first, run.pages, encrypted, c.notes().site});
}

// vma, the only parameter: almost never one of those.
bool is_remapped(const ProbeContext& ctx, const CpuView& cpu) {
  return ctx.aliases.contains(VirtAddr{cpu.gpr[CpuView::rdi]});
}

// addr
void unmapped(ProbeContext& ctx, CallView& c) { removed(ctx, c, c.pointer(0).page()); }
void vma_freed(ProbeContext& ctx, CallView& c) { removed(ctx, c, c.pointer(0)); }

constexpr ProbeRow memory_calls[] = {
    {"__set_memory_enc_pgtable", "addr numpages enc", "", enter_conversion, conversion},
    {"early_set_memory_enc_dec", "vaddr size enc", "", enter_conversion, early_conversion},
    {"vmap", "pages count", "", enter_mapping, vmap},
    {"vunmap", "addr", "", nullptr, unmapped},
    {"__ioremap_caller", "phys_addr size", "", enter_mapping, ioremap},
    {"iounmap", "addr", "", nullptr, unmapped},
    {"remap_pfn_range", "vma addr pfn size prot", "", enter_remap, remap},
    {.function = "vm_area_free", .parameters = "vma", .returned = vma_freed, .wanted = is_remapped},
};

}  // namespace

std::span<const ProbeRow> memory_rows() { return memory_calls; }

}  // namespace cbit::linux
