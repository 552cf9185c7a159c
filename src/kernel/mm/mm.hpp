// The kernel's memory management: direct map, user address spaces, changing a page's encryption attribute.
//
// The direct map covers all of RAM at page_offset_base with the encryption attribute set on encrypting platforms
// (arch/x86/mm/init_64.c; __sme_set in protection maps). Page tables live in the machine's memory.
// Threading: one thread, except the accesses of different CPUs' Mmu.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "kernel/cc_platform.hpp"
#include "kernel/mm/page_allocator.hpp"
#include "kernel/version.hpp"
#include "machine/machine.hpp"
#include "paging/mmu.hpp"
#include "paging/page_table.hpp"

namespace cbit {

inline constexpr VirtAddr page_offset_base{0xffff'8880'0000'0000};     // 4-level
inline constexpr VirtAddr page_offset_base_l5{0xff11'0000'0000'0000};  // 5-level
inline constexpr VirtAddr vmalloc_base{0xffff'c900'0000'0000};
inline constexpr VirtAddr vmalloc_base_l5{0xffa0'0000'0000'0000};

// What attribute changes cost: the question that every conversion raises.
struct ConversionCost {
  std::uint64_t calls = 0;
  std::uint64_t pages = 0;
  std::uint64_t large_pages_split = 0;
  std::uint64_t tlb_flushes = 0;        // range or full, each on all CPUs
  std::uint64_t tlb_full_flushes = 0;   // of those, the ones over tlb_single_page_flush_ceiling
  std::uint64_t cache_lines_flushed = 0;
  std::uint64_t hypercalls = 0;         // KVM_HC_MAP_GPA_RANGE, page-state changes, MapGPA
};

// A process' page table: what mmap gave it.
class UserSpace;

class Mm {
 public:
  static Result<std::unique_ptr<Mm>> create(Machine& machine, const CcPlatform& cc, KernelVersion version);
  ~Mm();

  [[nodiscard]] Machine& machine();
  [[nodiscard]] PageAllocator& pages();
  // CPU n's view with the kernel's page table loaded.
  [[nodiscard]] Mmu& cpu(unsigned n);
  [[nodiscard]] unsigned cpu_count() const;
  [[nodiscard]] PageTable& kernel_table();

  // __va and __pa of the direct map; `at` of virt_to_phys lies in it.
  [[nodiscard]] VirtAddr phys_to_virt(PhysAddr at) const;
  [[nodiscard]] PhysAddr virt_to_phys(VirtAddr at) const;
  [[nodiscard]] bool in_direct_map(VirtAddr at) const;

  // alloc_pages and free: direct-map address of contiguous pages, contents undefined.
  [[nodiscard]] std::optional<VirtAddr> alloc_pages(std::uint64_t pages, std::uint64_t limit = ~std::uint64_t{0});
  void free_pages(VirtAddr at, std::uint64_t pages);

  // set_memory_encrypted / set_memory_decrypted in the order of __set_memory_enc_pgtable
  // (arch/x86/mm/pat/set_memory.c). Contents are not converted. A no-op where memory is not encrypted.
  // `cpu` performs it.
  Result<void> set_memory_encrypted(Mmu& cpu, VirtAddr at, std::uint64_t pages);
  Result<void> set_memory_decrypted(Mmu& cpu, VirtAddr at, std::uint64_t pages);
  // early_set_memory_*: convert the contents in place through a 4 KiB buffer (__sme_early_enc_dec).
  Result<void> early_set_memory_encrypted(Mmu& cpu, VirtAddr at, std::uint64_t bytes);
  Result<void> early_set_memory_decrypted(Mmu& cpu, VirtAddr at, std::uint64_t bytes);
  [[nodiscard]] const ConversionCost& conversion_cost() const;
  // Makes the next n-th call of set_memory_* fail, as a hypervisor's refusal does: for tests of the leak paths.
  void fail_conversion_after(std::uint64_t calls);

  // vmap: maps pages again at a fresh kernel address. `selector` is the mapping's own attribute.
  Result<VirtAddr> vmap(const std::vector<PhysAddr>& pages, KeySelector selector);
  void vunmap(VirtAddr at, std::uint64_t pages);
  // ioremap: C=0, or TDX shared.
  Result<VirtAddr> ioremap(PhysAddr at, std::uint64_t bytes);

  // A new process, with an Mmu of its own at CPL 3.
  Result<std::unique_ptr<UserSpace>> create_user_space();

 private:
  Mm();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class UserSpace {
 public:
  UserSpace(Mm& mm, PageTable table, std::uint16_t cpu);

  // mmap of given pages (remap_pfn_range); `selector` is vm_page_prot's encryption attribute: 1 by default,
  // 0 after pgprot_decrypted. Returns the user address.
  Result<VirtAddr> remap_pfn_range(PhysAddr first, std::uint64_t pages, KeySelector selector);
  [[nodiscard]] Mmu& mmu() { return mmu_; }

 private:
  Mm* mm_;
  PageTable table_;
  Mmu mmu_;
  VirtAddr next_;
};

}  // namespace cbit
