// The kernel's memory management: direct map, user address spaces, changing a page's encryption attribute.
//
// The direct map covers all of RAM at page_offset_base with the encryption attribute set on encrypting
// platforms (arch/x86/mm/init_64.c; __sme_set in protection maps). MMIO is not in it. Page tables live in the
// machine's memory, encrypted as the kernel's other data.
//
//   mm.cpp             direct map, pages, vmap, ioremap, processes
//   set_memory.cpp     set_memory_*          arch/x86/mm/pat/set_memory.c, arch/x86/coco/tdx/tdx.c
//   early_memory.cpp   early_set_memory_*    arch/x86/mm/mem_encrypt_amd.c
//   tlb_flush.cpp      flushes on all CPUs   arch/x86/mm/tlb.c
//   user_space.cpp     what a process has mapped
//
// Every mapping besides the direct map is a MappingAdded event when it is complete, and a MappingRemoved when
// it goes, so that an observer can hold all mappings of a page against each other.
//
// Threading: one thread, except the accesses of different CPUs' Mmu while nothing here changes a mapping.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "cbit/kernel_config.hpp"
#include "kernel/cc_platform.hpp"
#include "kernel/mm/page_allocator.hpp"
#include "machine/machine.hpp"
#include "paging/mmu.hpp"
#include "paging/page_table.hpp"

namespace cbit::kernel {

// arch/x86/include/asm/page_64_types.h, pgtable_64_types.h; KASLR is off.
inline constexpr VirtAddr page_offset_base{0xffff'8880'0000'0000};     // 4-level
inline constexpr VirtAddr page_offset_base_l5{0xff11'0000'0000'0000};  // 5-level
inline constexpr VirtAddr vmalloc_base{0xffff'c900'0000'0000};         // 32 TiB
inline constexpr VirtAddr vmalloc_base_l5{0xffa0'0000'0000'0000};      // 12800 TiB
inline constexpr VirtAddr vmemmap_base{0xffff'ea00'0000'0000};
inline constexpr VirtAddr vmemmap_base_l5{0xffd4'0000'0000'0000};
inline constexpr std::uint64_t struct_page_bytes = 64;

// A range of more pages is flushed as a whole. arch/x86/mm/tlb.c: tlb_single_page_flush_ceiling.
inline constexpr std::uint64_t tlb_single_page_flush_ceiling = 33;

// What attribute changes cost: the question that every conversion raises.
struct ConversionCost {
  std::uint64_t calls = 0;
  std::uint64_t pages = 0;
  std::uint64_t large_pages_split = 0;
  std::uint64_t tlb_flushes = 0;  // range or full, each on all CPUs
  std::uint64_t tlb_full_flushes =
      0;  // of those, the full ones: over the ceiling, after a split, for an alias
  std::uint64_t cache_lines_flushed = 0;
  std::uint64_t hypercalls = 0;  // KVM_HC_MAP_GPA_RANGE, page-state changes, MapGPA
};

// What preempt_count() says of the caller.
enum class Context : std::uint8_t {
  process,  // may sleep
  softirq,  // may not: RCU callbacks, timers
};

// A process' page table: what mmap gave it.
class UserSpace;
class UserPages;  // kernel/mm/user_pages.hpp

class Mm {
 public:
  // Faults: no_memory when the machine is too small for its tables.
  static Result<std::unique_ptr<Mm>> create(machine::Machine& machine, const CcPlatform& cc,
                                            KernelVersion version);
  ~Mm();

  [[nodiscard]] machine::Machine& machine();
  [[nodiscard]] PageAllocator& page_allocator();
  [[nodiscard]] UserPages& user_pages();
  // page_keyid(): the KeyID of a page on MKTME, which addresses of it carry; 0 elsewhere.
  [[nodiscard]] mem::KeySelector page_key_id(PhysAddr page) const;
  // The encryption attribute of the protection that user and kernel memory get by default.
  [[nodiscard]] mem::KeySelector default_selector() const;
  // CPU n's view with the kernel's page table loaded.
  [[nodiscard]] paging::Mmu& cpu(unsigned n);
  [[nodiscard]] unsigned cpu_count() const;
  [[nodiscard]] paging::PageTable& kernel_table();

  // __va and __pa of the direct map: plain arithmetic, whether or not the address is in it. __pa takes the
  // address of any of MKTME's direct maps.
  [[nodiscard]] VirtAddr phys_to_virt(PhysAddr at) const;
  [[nodiscard]] PhysAddr virt_to_phys(VirtAddr at) const;
  // The kernel's mapping under which the contents of a process' page are plain: on MKTME there is one direct
  // map per KeyID (page_address() of a page with a KeyID), elsewhere the only one, whatever `key` says.
  [[nodiscard]] VirtAddr phys_to_virt(PhysAddr at, mem::KeySelector key) const;
  // phys_to_page: where the struct page lies; the model maps nothing there. page_address: plain arithmetic,
  // so that what is no struct page leads anywhere.
  [[nodiscard]] VirtAddr phys_to_page(PhysAddr at) const;
  [[nodiscard]] VirtAddr page_address(VirtAddr page) const;
  // Between the direct map's ends; the hole below 4 GiB is there too.
  [[nodiscard]] bool in_direct_map(VirtAddr at) const;

  // alloc_pages and free: direct-map address of contiguous pages, contents undefined.
  [[nodiscard]] std::optional<VirtAddr> alloc_pages(std::uint64_t pages,
                                                    std::uint64_t limit = ~std::uint64_t{0});
  void free_pages(VirtAddr at, std::uint64_t pages);

  // set_memory_encrypted / set_memory_decrypted in the order of __set_memory_enc_pgtable. Contents are not
  // converted. A no-op where memory is not encrypted. `cpu` performs it; its TLB and all others are flushed.
  // Faults: not_present where part of the range is not mapped, no_memory when no page is left for a split,
  // conversion_refused, guest_terminated. A refusal may come after the mapping has changed: such pages are
  // nobody's to use or to free.
  // They sleep. A caller who must not and calls all the same is told what CONFIG_DEBUG_ATOMIC_SLEEP tells.
  Result<void> set_memory_encrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t pages,
                                    Context context = Context::process);
  Result<void> set_memory_decrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t pages,
                                    Context context = Context::process);
  // early_set_memory_*: convert the contents in place through a 4 KiB buffer (__sme_early_enc_dec). They work
  // on AMD's C-bit only: a no-op on TDX, as in the kernel.
  Result<void> early_set_memory_encrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes);
  Result<void> early_set_memory_decrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes);
  [[nodiscard]] const ConversionCost& conversion_cost() const;
  // Makes the next n-th call of set_memory_* fail as it can on the platform, for tests of the leak paths:
  // SME, SEV and SEV-ES ask nobody, so only a page table can be missing for a split (no_memory, before the
  // mapping changes); a TD's VMM refuses (conversion_refused); an SNP guest whose hypervisor refuses
  // terminates itself (guest_terminated); POWER does not look at what the ultravisor says. 1 is the next
  // call, 0 none.
  void fail_conversion_after(std::uint64_t calls);

  // set_pages_array_wc, _uc and _wb: the caching of the direct map's pages, with the flushes of TLB and
  // caches that it takes. Faults as set_memory_*.
  Result<void> set_pages_array(paging::Mmu& cpu, std::span<const PhysAddr> pages,
                               paging::PageCaching caching);

  // vmap: maps pages again at a fresh kernel address. `selector` and `caching` are the mapping's own.
  Result<VirtAddr> vmap(const std::vector<PhysAddr>& pages, mem::KeySelector selector,
                        paging::PageCaching caching = paging::PageCaching::write_back);
  // `at` and `pages` as vmap() had them.
  void vunmap(VirtAddr at, std::uint64_t pages);
  // ioremap (UC-) and ioremap_wc: C=0, or TDX shared. Fault: protection for RAM, which Linux refuses with
  // "ioremap on RAM at".
  Result<VirtAddr> ioremap(PhysAddr at, std::uint64_t bytes,
                           paging::PageCaching caching = paging::PageCaching::uncached);
  // `at` as ioremap() returned it, `bytes` as it was given.
  void iounmap(VirtAddr at, std::uint64_t bytes);

  // memremap_pages() of MEMORY_DEVICE_PCI_P2PDMA: puts pages of a BAR into the direct map, uncached, and as
  // PAGE_KERNEL with the encryption attribute, which MMIO does not have.
  Result<void> memremap_pages(PhysAddr at, std::uint64_t bytes);

  // Reports a mapping that was made, in physically contiguous runs, or that is about to go. The code that
  // `cpu` runs is who did it; `function` where that has no name.
  void report_mapped(const paging::Mmu& cpu, std::string_view kind, VirtAddr at,
                     std::span<const PhysAddr> pages, mem::KeySelector selector, std::string_view function);
  void report_unmapped(const paging::Mmu& cpu, const paging::PageTable& table, VirtAddr at,
                       std::uint64_t pages);

  // A new process, with an Mmu of its own at CPL 3.
  Result<std::unique_ptr<UserSpace>> create_user_space();

 private:
  Mm();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class UserSpace {
 public:
  UserSpace(Mm& mm, paging::PageTable table, std::uint16_t cpu);
  // exit_mmap()
  ~UserSpace();
  UserSpace(const UserSpace&) = delete;
  UserSpace& operator=(const UserSpace&) = delete;

  // mmap of given pages (remap_pfn_range); `selector` is vm_page_prot's encryption attribute: 1 by default,
  // 0 after pgprot_decrypted. Returns the user address.
  Result<VirtAddr> remap_pfn_range(PhysAddr first, std::uint64_t pages, mem::KeySelector selector);
  // vm_map_pages: the same for pages that are not contiguous.
  Result<VirtAddr> map_pages(std::span<const PhysAddr> pages, mem::KeySelector selector);

  [[nodiscard]] paging::Mmu& mmu() { return mmu_; }

  // Beyond the last address that a mapping may have.
  static constexpr VirtAddr end{0x7fff'ffff'f000};
  // Addresses for so many pages, followed by a guard page. nullopt when they do not fit.
  [[nodiscard]] std::optional<VirtAddr> reserve(std::uint64_t pages);
  // Addresses that another space has given out are not given out here: after fork().
  void inherit_layout(const UserSpace& parent) { next_ = parent.next_; }
  // One page at an address that reserve() gave, replacing what is there; unmap() flushes. vmf_insert_pfn_prot
  Result<void> map_page(VirtAddr at, PhysAddr page, paging::PageFlags flags, mem::KeySelector selector,
                        paging::PageCaching caching = paging::PageCaching::write_back);
  void unmap(VirtAddr at, std::uint64_t pages);

 private:
  Result<void> map_at(VirtAddr at, PhysAddr first, std::uint64_t pages, mem::KeySelector selector);

  Mm* mm_;
  paging::PageTable table_;
  paging::Mmu mmu_;
  VirtAddr next_;
};

}  // namespace cbit::kernel
