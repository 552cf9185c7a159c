// What the parts of Mm share. Private to kernel/mm.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/trace.hpp"
#include "kernel/mm/mm.hpp"
#include "kernel/mm/user_pages.hpp"

namespace cbit::kernel {

struct Mm::Impl {
  Impl(machine::Machine& board, const CcPlatform& platform, KernelVersion kernel_version);

  // ---- address space (mm.cpp) ----
  Result<void> create_kernel_table();
  Result<paging::PageTable> create_table();
  // Of any KeyID.
  [[nodiscard]] bool in_direct_map(VirtAddr at) const {
    const std::uint64_t offset = at - direct_map;
    return at >= direct_map && offset / direct_map_stride < key_id_count &&
           offset % direct_map_stride < direct_map_end - direct_map;
  }
  [[nodiscard]] VirtAddr phys_to_virt(PhysAddr at) const { return direct_map + at.value(); }
  [[nodiscard]] VirtAddr phys_to_virt(PhysAddr at, mem::KeySelector key) const {
    return phys_to_virt(at) + (key_id_count > 1 ? key * direct_map_stride : 0);
  }
  [[nodiscard]] VirtAddr vmemmap() const {
    return machine.config().paging_levels == 5 ? vmemmap_base_l5 : vmemmap_base;
  }
  // A fresh range of the vmalloc area, followed by a guard page.
  Result<VirtAddr> reserve_vmalloc(std::uint64_t count);
  void release_vmalloc(VirtAddr at, std::uint64_t count);

  // ---- TLB and caches (tlb_flush.cpp) ----
  // Range or full, by the ceiling; `force_full` for what no range names.
  void flush_tlb(const paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool force_full = false);
  void flush_tlb_all(const paging::Mmu& cpu);
  void clflush(const paging::Mmu& cpu, const std::vector<mem::PhysRange>& ranges);
  void wbinvd(const paging::Mmu& cpu);

  // ---- attribute changes (set_memory.cpp, early_memory.cpp) ----
  struct Conversion {
    paging::Mmu& cpu;
    VirtAddr at;
    std::uint64_t pages = 0;
    bool encrypted = false;
    std::vector<mem::PhysRange> ram;  // what the range maps, in its order; MMIO left out
    bool has_large_pages = false;     // among what maps it
  };
  // The range must be mapped throughout.
  Result<Conversion> conversion(paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool encrypted);
  Result<void> svm_set_memory(paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool encrypted);
  Result<void> set_memory_enc_pgtable(paging::Mmu& cpu, VirtAddr at, std::uint64_t count, bool encrypted,
                                      Context context);
  // might_sleep()
  void might_sleep(const paging::Mmu& cpu, Context context);
  void flush_before(const Conversion& c);
  Result<void> status_change_prepare(const Conversion& c);
  Result<void> change_attribute(const Conversion& c);
  Result<void> status_change_finish(const Conversion& c);
  Result<void> snp_set_pages_state(const Conversion& c);
  Result<void> tdx_enc_status_changed(const Conversion& c);
  [[nodiscard]] std::uint64_t psc_requests(const Conversion& c) const;
  void notify_page_enc_status(const Conversion& c);
  // True for the conversion that a test wants to fail. To be asked once per conversion, where it can fail.
  [[nodiscard]] bool fails() { return fail_after != 0 && --fail_after == 0; }
  // conversion_refused if the VMM of a TD will not have it.
  Result<void> ask_vmm(const Conversion& c);
  Result<void> change_page_state(const Conversion& c, std::string_view call);
  void report_conversion(const Conversion& c);
  Result<void> set_pages_array(paging::Mmu& cpu, std::span<const PhysAddr> list, paging::PageCaching caching);
  Result<void> change_caching(paging::Mmu& cpu, std::span<const PhysAddr> list, paging::PageCaching caching);
  Result<void> split(const Conversion& c, VirtAddr at, std::uint64_t bytes, bool flush);

  Result<void> early_set_memory_enc_dec(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes, bool encrypted);
  Result<void> early_convert_leaf(const Conversion& c, VirtAddr at, paging::PageLevel level,
                                  paging::Pte entry);
  Result<void> early_enc_dec_page(const Conversion& c, PhysAddr page);
  Result<void> early_snp_set_page(const Conversion& c, PhysAddr page, bool encrypted);

  // ---- reports ----
  // One decision: `text()` gives the rule in words, `source` the function that decides.
  template <class Text>
  void step(const paging::Mmu& cpu, std::string_view source, Text&& text, std::uint64_t duration_ns = 0) {
    tracer.emit_if_heard(cpu.agent(), [&] { return StepTaken{text(), source}; }, duration_ns);
  }
  template <class Text>
  void message(const paging::Mmu& cpu, Text&& text) {
    if (tracer.enabled()) tracer.emit(cpu.agent(), KernelMessage{text()});
  }

  machine::Machine& machine;
  const CcPlatform cc;
  const KernelVersion version;
  Tracer& tracer;
  mem::Memory& memory;
  const mem::KeySelector default_selector;    // 1 where memory is encrypted
  const VirtAddr direct_map, direct_map_end;  // of KeyID 0
  const std::uint64_t key_id_count;           // direct maps: 1 except on MKTME
  const std::uint64_t direct_map_stride;      // from one KeyID's direct map to the next
  PageAllocator pages;
  std::optional<UserPages> user_pages;
  PageRuns vmalloc;  // free page numbers
  std::optional<paging::PageTable> table;
  const std::span<paging::Mmu> cpus;  // the machine's
  ConversionCost cost;
  bool warned_misaligned = false;
  bool warned_refusal = false;
  std::uint64_t fail_after = 0;  // set_memory_* calls; 0: none fails
};

}  // namespace cbit::kernel
