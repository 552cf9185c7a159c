// set_memory_encrypted() and set_memory_decrypted().
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/cost.hpp"
#include "kernel/mm/mm_impl.hpp"
#include "spec/ghcb.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_set_memory = "arch/x86/mm/pat/set_memory.c: __set_memory_enc_pgtable";
constexpr std::string_view source_cpa = "arch/x86/mm/pat/set_memory.c: __change_page_attr_set_clr";
constexpr std::string_view source_svm = "arch/powerpc/platforms/pseries/svm.c: set_memory_decrypted";
constexpr std::string_view source_snp = "arch/x86/kernel/sev.c: set_pages_state";
constexpr std::string_view source_tdx = "arch/x86/coco/tdx/tdx.c: tdx_enc_status_changed";
constexpr std::string_view source_hypercall = "arch/x86/mm/mem_encrypt_amd.c: enc_dec_hypercall";

// [6.1] 253, what one GHCB holds; [6.5] 64, with the request on the stack, and 2 MiB entries where they fit.
constexpr std::uint64_t psc_entries_6_1 = 253;
constexpr std::uint64_t psc_entries = 64;
constexpr std::uint64_t pages_2m = level_bytes(paging::PageLevel::size_2m) / page_size;

// Nobody could refuse a conversion.
bool asks_nobody(machine::PageStateCall call) {
  return call == machine::PageStateCall::none || call == machine::PageStateCall::kvm;
}

std::vector<mem::PhysRange> ranges_of(std::span<const PhysAddr> pages) {
  std::vector<mem::PhysRange> ranges;
  for (const PhysAddr page : pages) {
    if (!ranges.empty() && ranges.back().end() == page)
      ranges.back().bytes += page_size;
    else
      ranges.push_back({page, page_size});
  }
  return ranges;
}

}  // namespace

Result<Mm::Impl::Conversion> Mm::Impl::conversion(paging::Mmu& cpu, VirtAddr at, std::uint64_t count,
                                                  bool encrypted) {
  Conversion c{.cpu = cpu, .at = at, .pages = count, .encrypted = encrypted};
  if (count > ~std::uint64_t{0} / page_size) return fault(FaultKind::non_canonical, at.value());
  const VirtAddr end = at + count * page_size;
  VirtAddr reached = at;
  CBIT_TRY(table->for_each_leaf(
      at, count * page_size, [&](VirtAddr leaf, paging::PageLevel level, paging::Pte entry) {
        if (leaf > reached) return;
        c.has_large_pages |= level != paging::PageLevel::size_4k;
        const PhysAddr page = machine.paging().view.layout.split(entry.page(level)).first;
        const mem::PhysRange part{page + (reached - leaf),
                                  std::min(leaf + level_bytes(level), end) - reached};
        reached += part.bytes;
        if (!memory.contains(part.first, part.bytes)) return;
        if (!c.ram.empty() && c.ram.back().end() == part.first)
          c.ram.back().bytes += part.bytes;
        else
          c.ram.push_back(part);
      }));
  if (reached != end) return fault(FaultKind::not_present, reached.value());
  return c;
}

// vm_unmap_aliases() takes a mutex, and so does the allocator of page tables for a split.
void Mm::Impl::might_sleep(const paging::Mmu& cpu, Context context) {
  if (context == Context::process) return;
  message(cpu, [&] {
    return fmt::format(
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c, in_atomic(): 1, "
        "in {}",
        cpu.site() != 0 ? tracer.name(cpu.site()) : std::string_view{"set_memory"});
  });
}

Result<void> Mm::Impl::set_memory_enc_pgtable(paging::Mmu& cpu, VirtAddr at, std::uint64_t count,
                                              bool encrypted, Context context) {
  if (!cc.has(CcAttr::mem_encrypt) || count == 0) return {};
  if (cc.traits().page_state_call == machine::PageStateCall::uv_share)
    return svm_set_memory(cpu, at, count, encrypted);
  might_sleep(cpu, context);
  if (!at.is_aligned(page_size)) {
    if (!std::exchange(warned_misaligned, true))
      message(cpu, [&] { return fmt::format("misaligned address: {:#x}", at.value()); });
    at = at.page();
  }
  const Conversion c = CBIT_TRY(conversion(cpu, at, count, encrypted));
  ++cost.calls;
  cost.pages += count;

  flush_before(c);
  CBIT_TRY(status_change_prepare(c));
  const auto changed = change_attribute(c);
  step(cpu, source_set_memory, [] { return "flush the TLB again, not the caches"; });
  flush_tlb(cpu, at, count, !in_direct_map(at));
  CBIT_TRY(changed);
  CBIT_TRY(status_change_finish(c));
  report_conversion(c);
  return {};
}

// A mapping besides the direct map that gets another attribute is another mapping.
void Mm::Impl::report_conversion(const Conversion& c) {
  const bool alias = !in_direct_map(c.at);
  VirtAddr at = c.at;
  for (const mem::PhysRange& range : c.ram) {
    const std::uint64_t count = range.bytes / page_size;
    const SiteId site = c.cpu.site();
    if (alias) tracer.emit(c.cpu.agent(), MappingRemoved{at, range.first, count});
    tracer.emit(c.cpu.agent(), PageConversion{range.first, count, c.encrypted, false, site});
    if (alias) tracer.emit(c.cpu.agent(), MappingAdded{"vmap", at, range.first, count, c.encrypted, site});
    at += range.bytes;
  }
}

// AMD always flushes the TLB, and caches that are not coherent; TDX only before decrypting, but then caches
// too.
void Mm::Impl::flush_before(const Conversion& c) {
  const bool before_sharing = cc.traits().flushes_before_sharing_alone;
  if (before_sharing && c.encrypted) {
    step(c.cpu, source_set_memory, [] { return "no flush: shared to private is the VMM's to flush"; });
    return;
  }
  const bool caches = before_sharing || machine.config().cache != mem::CacheModel::coherent;
  step(c.cpu, source_set_memory, [&] {
    return caches ? "flush TLB and caches of the old mapping"
                  : "flush the TLB of the old mapping; caches are coherent";
  });
  flush_tlb(c.cpu, c.at, c.pages);
  if (caches) clflush(c.cpu, c.ram);
}

// SNP rescinds pages before the mapping opens them; TDX accepts pages before the mapping becomes private.
Result<void> Mm::Impl::status_change_prepare(const Conversion& c) {
  switch (cc.traits().page_state_call) {
    case machine::PageStateCall::psc: return c.encrypted ? Result<void>{} : snp_set_pages_state(c);
    case machine::PageStateCall::map_gpa: return c.encrypted ? tdx_enc_status_changed(c) : Result<void>{};
    case machine::PageStateCall::none:
    case machine::PageStateCall::kvm:
    case machine::PageStateCall::uv_share: break;
  }
  return {};
}

Result<void> Mm::Impl::split(const Conversion& c, VirtAddr at, std::uint64_t bytes, bool flush) {
  const paging::EditResult done = CBIT_TRY(table->split(at, bytes));
  cost.large_pages_split += done.pages_split;
  // __split_large_page: no CPU may keep the large translation beside the small ones.
  if (flush)
    for (std::uint64_t i = 0; i < done.pages_split; ++i) flush_tlb_all(c.cpu);
  return {};
}

Result<void> Mm::Impl::change_attribute(const Conversion& c) {
  step(c.cpu, source_cpa, [&] {
    return fmt::format("{} in the page-table entries of {} pages; their contents stay as they are in DRAM",
                       c.encrypted ? "set encrypted" : "set decrypted", c.pages);
  });
  if (asks_nobody(cc.traits().page_state_call) && fails()) {
    step(c.cpu, source_cpa, [] { return "no memory for the page table of a split: -ENOMEM"; });
    return fault(FaultKind::no_memory, c.at.value());
  }
  const mem::KeySelector selector = c.encrypted ? 1 : 0;
  if (c.has_large_pages) CBIT_TRY(split(c, c.at, c.pages * page_size, true));
  CBIT_TRY(table->set_selector(c.at, c.pages * page_size, selector));
  const bool alias = !in_direct_map(c.at);  // cpa_process_alias
  for (const mem::PhysRange& range : c.ram) {
    if (!alias) break;
    CBIT_TRY(split(c, phys_to_virt(range.first), range.bytes, true));
    CBIT_TRY(table->set_selector(phys_to_virt(range.first), range.bytes, selector));
  }
  if (cc.traits().state_below_guest) return {};
  for (const mem::PhysRange& range : c.ram)
    memory.convert(range.first, range.bytes / page_size, c.encrypted, c.cpu.site());
  return {};
}

Result<void> Mm::Impl::status_change_finish(const Conversion& c) {
  switch (cc.traits().page_state_call) {
    case machine::PageStateCall::none: break;
    case machine::PageStateCall::kvm: notify_page_enc_status(c); break;
    case machine::PageStateCall::psc:
      if (c.encrypted) CBIT_TRY(snp_set_pages_state(c));
      notify_page_enc_status(c);
      break;
    case machine::PageStateCall::map_gpa: return c.encrypted ? Result<void>{} : tdx_enc_status_changed(c);
    case machine::PageStateCall::uv_share: break;
  }
  return {};
}

// _set_pages_array, and set_memory_wb for write-back.
Result<void> Mm::Impl::set_pages_array(paging::Mmu& cpu, std::span<const PhysAddr> list,
                                       paging::PageCaching caching) {
  if (caching == paging::PageCaching::write_combined)
    CBIT_TRY(change_caching(cpu, list, paging::PageCaching::uncached));
  return change_caching(cpu, list, caching);
}

Result<void> Mm::Impl::change_caching(paging::Mmu& cpu, std::span<const PhysAddr> list,
                                      paging::PageCaching caching) {
  std::uint64_t changed = 0;
  for (const PhysAddr page : list) {
    CBIT_TRY(split({.cpu = cpu}, phys_to_virt(page), page_size, true));
    changed += CBIT_TRY(table->set_caching(phys_to_virt(page), page_size, caching)).leaves_changed;
  }
  if (changed == 0) return {};  // no CPA_FLUSHTLB
  step(cpu, source_cpa,
       [&] { return fmt::format("the direct map of {} pages becomes {}", changed, to_string(caching)); });
  flush_tlb(cpu, phys_to_virt(list.front()), list.size());
  for (paging::Mmu& each : cpus)
    for (const PhysAddr page : list) each.flush_range(phys_to_virt(page), page_size);
  if (caching != paging::PageCaching::write_back) clflush(cpu, ranges_of(list));
  return {};
}

// ---- POWER secure guests: arch/powerpc/platforms/pseries/svm.c ------------------------------------------

// No mapping of the guest changes: the ultravisor's partition-scoped table does, for which memory's state of
// the page stands. It zeroes the pages. Linux does not look at what the ultracall returns.
Result<void> Mm::Impl::svm_set_memory(paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool encrypted) {
  const std::string_view call = encrypted ? "UV_UNSHARE_PAGE" : "UV_SHARE_PAGE";
  if (!at.is_aligned(page_size)) {
    step(cpu, source_svm, [] { return "the address is not page-aligned: -EINVAL"; });
    return fault(FaultKind::conversion_refused, at.value());
  }
  const Conversion c = CBIT_TRY(conversion(cpu, at, count, encrypted));
  ++cost.calls;
  cost.pages += count;
  step(cpu, source_svm, [&] {
    return fmt::format(
        "{}: the ultravisor {} {} pages and zeroes them; no page-table entry of the guest changes", call,
        encrypted ? "takes back" : "shares", count);
  });
  for (const mem::PhysRange& range : c.ram) {
    ++cost.hypercalls;
    machine.hypervisor().exit(cpu.agent(), call, range.first.page_number());
  }
  if (fails()) return {};
  flush_tlb(cpu, at, count);
  for (const mem::PhysRange& range : c.ram)
    tracer.emit(cpu.agent(),
                PageConversion{range.first, range.bytes / page_size, encrypted, false, cpu.site()});
  return change_page_state(c, call);
}

// ---- what the hypervisor is asked -----------------------------------------------------------------------

Result<void> Mm::Impl::ask_vmm(const Conversion& c) {
  if (!fails()) return {};
  // x86/mm/cpa: Warn for set_memory_XXcrypted() VMM fails (6.9)
  if (version >= KernelVersion::v6_10 && !std::exchange(warned_refusal, true))
    message(c.cpu, [&] {
      return fmt::format("CPA VMM failure to convert memory (addr={:016x}, numpages={}) to {}{}",
                         c.at.value(), c.pages, c.encrypted ? "private" : "shared",
                         version >= KernelVersion::v6_12 ? ": -5" : ".");
    });
  return fault(FaultKind::conversion_refused, c.at.value());
}

Result<void> Mm::Impl::change_page_state(const Conversion& c, std::string_view call) {
  for (const mem::PhysRange& range : c.ram)
    CBIT_TRY(machine.hypervisor().change_page_state(c.cpu.agent(), {call, range, c.encrypted, c.cpu.site()}));
  return {};
}

std::uint64_t Mm::Impl::psc_requests(const Conversion& c) const {
  if (version == KernelVersion::v6_1) return (c.pages + psc_entries_6_1 - 1) / psc_entries_6_1;
  std::uint64_t entries = 0;
  for (std::uint64_t page = 0; page < c.pages; ++entries) {
    const bool large = in_direct_map(c.at) &&
                       (c.at + page * page_size).is_aligned(level_bytes(paging::PageLevel::size_2m)) &&
                       c.pages - page >= pages_2m;
    page += large ? pages_2m : 1;
  }
  return (entries + psc_entries - 1) / psc_entries;
}

// snp_set_memory_shared, snp_set_memory_private
// The guest cannot go on with pages whose state it does not know: it ends where the hypervisor refuses.
Result<void> Mm::Impl::snp_set_pages_state(const Conversion& c) {
  if (fails()) {
    message(c.cpu,
            [] { return fmt::format("SNP: PSC failed ret=0 exit_info_2={:x}", spec::psc_error_generic); });
    step(c.cpu, source_snp, [] { return "page-state change refused: sev_es_terminate(GHCB_TERM_PSC)"; });
    machine.hypervisor().terminate(c.cpu.agent(), spec::sev_term_set_linux, spec::ghcb_term_psc);
    return fault(FaultKind::guest_terminated, c.at.value());
  }
  const std::uint64_t requests = psc_requests(c);
  cost.hypercalls += requests;
  step(
      c.cpu, source_snp,
      [&] {
        return c.encrypted
                   ? fmt::format("page-state change to private in {} requests, then PVALIDATE each page",
                                 requests)
                   : fmt::format(
                         "PVALIDATE (rescind) each page, then page-state change to shared in {} requests",
                         requests);
      },
      requests * cost::hypercall_ns);
  return change_page_state(c, "PSC");
}

Result<void> Mm::Impl::tdx_enc_status_changed(const Conversion& c) {
  CBIT_TRY(ask_vmm(c));
  cost.hypercalls += c.ram.size();
  step(
      c.cpu, source_tdx,
      [&] {
        return c.encrypted ? "MapGPA to private, then TDG.MEM.PAGE.ACCEPT, which clears the pages"
                           : "MapGPA to shared: the VMM backs the address with other memory";
      },
      c.ram.size() * cost::hypercall_ns);
  return change_page_state(c, "MapGPA");
}

// One KVM_HC_MAP_GPA_RANGE per leaf of the mapping as it is now; kvm_init_platform() installs the call where
// the hypervisor offers KVM_FEATURE_MIGRATION_CONTROL.
void Mm::Impl::notify_page_enc_status(const Conversion& c) {
  if (!machine.config().migration_control) return;
  std::uint64_t leaves = 0;
  const auto count = [&](VirtAddr, paging::PageLevel, paging::Pte) { ++leaves; };
  if (!table->for_each_leaf(c.at, c.pages * page_size, count)) return;
  cost.hypercalls += leaves;
  step(
      c.cpu, source_hypercall,
      [&] { return fmt::format("KVM_HC_MAP_GPA_RANGE for each of {} mappings", leaves); },
      leaves * cost::hypercall_ns);
  for (const mem::PhysRange& range : c.ram)
    machine.hypervisor().note_page_state(c.cpu.agent(),
                                         {"KVM_HC_MAP_GPA_RANGE", range, c.encrypted, c.cpu.site()});
}

}  // namespace cbit::kernel
