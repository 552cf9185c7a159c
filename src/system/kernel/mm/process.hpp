// A process: its areas, demand paging, limits, and what drivers do with its pages. mm_struct and
// task_struct as far as DMA and memory encryption need them; mm/mmap.c, mm/memory.c, mm/gup.c.
//
//   mmap() makes an area; pages come on the first touch, zeroed, with the area's encryption attribute: 1 on
//   platforms that encrypt all memory, a KeyID on MKTME (0 unless encrypt_mprotect() gave another).
//   fork() shares pages until one side writes; a pinned page is copied at once (page_needs_cow_for_dma).
//   pin_user_pages() faults pages in and holds on to them: munmap() and the end of the process leave them be.
//
// Addresses are given out ascending and are not used again. Errors are errno values, positive, as the system
// calls return them. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "kernel/kernel.hpp"
#include "kernel/mm/user_pages.hpp"
#include "kernel/mm/vma.hpp"

namespace cbit::kernel {

class SwapSlot;  // kernel/mm/swap.hpp

// The end of a range whose length is rounded up to pages; ENOMEM where it wraps around.
[[nodiscard]] Result<VirtAddr, int> end_of_range(VirtAddr at, std::uint64_t bytes);

struct ProcessLimits {
  std::uint64_t memlock_bytes = 8ull << 20;  // RLIMIT_MEMLOCK
  bool cap_ipc_lock = false;                 // CAP_IPC_LOCK
};

class Process {
 public:
  using Limits = ProcessLimits;
  // ENOMEM when the kernel has no page for its tables. `kernel` outlives the process.
  static Result<std::unique_ptr<Process>, int> create(Kernel& kernel, Limits limits = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // A child with a copy of this address space; its areas keep their KeyIDs. Pins stay with the parent.
  Result<std::unique_ptr<Process>, int> fork();

  // mmap(MAP_PRIVATE | MAP_ANONYMOUS). The length is rounded up to pages. EINVAL for none, ENOMEM when it
  // does not fit.
  Result<VirtAddr, int> mmap(std::uint64_t bytes, Prot prot = prot_read_write);
  // mmap(MAP_SHARED) of a file, of persistent memory, or of a driver's pages. EINVAL where the backing has no
  // such pages, else as above.
  Result<VirtAddr, int> mmap_backed(std::shared_ptr<Backing> backing, std::uint64_t first_page,
                                    std::uint64_t bytes, Prot prot = prot_read_write);
  // EINVAL where the address is not page-aligned, for no bytes, and beyond the user's addresses; nothing
  // mapped there is no error.
  Result<void, int> munmap(VirtAddr at, std::uint64_t bytes);
  // madvise(MADV_DONTNEED): the pages go, the areas stay, and the next touch brings new ones. A page that is
  // pinned leaves the process all the same, and its driver keeps it. EINVAL where the address is not
  // page-aligned, ENOMEM where part of the range has no area.
  Result<void, int> madvise_dontneed(VirtAddr at, std::uint64_t bytes);
  // EINVAL where the address is not page-aligned, ENOMEM where part of the range has no area; areas before
  // the hole have changed by then, as in the kernel.
  Result<void, int> mprotect(VirtAddr at, std::uint64_t bytes, Prot prot);
  // do_mprotect_ext(), below mprotect(), pkey_mprotect() and encrypt_mprotect() (kernel/mktme/mktme.hpp):
  // with a KeyID the areas lose their contents and belong to the KeyID from then on; with a protection key
  // they get that. A call has one of the two or neither: EINVAL for both. EINVAL also for a protection key
  // that is not allocated, and where an area that is to be encrypted is not anonymous; then none has changed.
  struct MprotectKeys {
    std::optional<ProtectionKey> pkey;
    std::optional<mem::KeySelector> key_id;
  };
  Result<void, int> mprotect_ext(VirtAddr at, std::uint64_t bytes, Prot prot, const MprotectKeys& keys);

  // pkey_alloc(), pkey_free() and WRPKRU. Rights as in PKRU: access disabled, writing disabled. ENOSPC when
  // all 15 are taken; EINVAL for a key that is not allocated. A key that is freed stays with its areas.
  struct PkeyRights {
    bool no_access = false;
    bool no_write = false;
  };
  Result<ProtectionKey, int> pkey_alloc(PkeyRights rights);
  Result<void, int> pkey_free(ProtectionKey pkey);
  void write_pkru(ProtectionKey pkey, PkeyRights rights);
  // ENOMEM, EINVAL as mprotect_ext().
  Result<void, int> pkey_mprotect(VirtAddr at, std::uint64_t bytes, Prot prot, ProtectionKey pkey) {
    return mprotect_ext(at, bytes, prot, {.pkey = pkey, .key_id = {}});
  }

  // The process' own loads and stores through its Mmu. Demand faults are handled inside; a Fault is what the
  // process would get SIGSEGV or SIGBUS for: `protection` also where PKRU forbids it (SEGV_PKUERR).
  Result<void> read(VirtAddr from, ByteSpan to);
  Result<void> write(VirtAddr to, ConstByteSpan from);

  // pin_user_pages(FOLL_LONGTERM, and FOLL_WRITE if `write`): all pages or none. EFAULT where there is no
  // area, no right, or PKRU forbids it (arch_vma_access_permitted); ENOMEM when no page is left. What is
  // pinned already a later PKRU does not take from a device.
  Result<std::vector<PhysAddr>, int> pin_user_pages(VirtAddr at, std::uint64_t pages, bool write);
  // unpin_user_pages_dirty_lock: a dirty page may not be dropped, it has to be written to the swap device.
  void unpin_user_pages(std::span<const PhysAddr> pages, bool dirty);

  // mm->pinned_vm, which who pins accounts for (ib_umem_get, sev_pin_memory). ENOMEM when it would exceed
  // RLIMIT_MEMLOCK without CAP_IPC_LOCK.
  Result<void, int> account_pinned(std::uint64_t pages);
  void unaccount_pinned(std::uint64_t pages);
  [[nodiscard]] std::uint64_t pinned_pages() const { return pinned_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

  // Device mappings: remap_pfn_range, map_pages.
  [[nodiscard]] UserSpace& space() { return *space_; }
  [[nodiscard]] Kernel& kernel() { return *kernel_; }
  [[nodiscard]] const VmaMap& areas() const { return areas_; }
  // The page behind an address, or nothing where none has come yet, or it is on a swap device.
  [[nodiscard]] std::optional<PhysAddr> page_at(VirtAddr at) const;

 private:
  friend class PageMover;  // kernel/mm/swap.cpp

  // What the kernel knows about one page of the process that has contents.
  struct Entry {
    PhysAddr page;
    bool dirty = false;
    bool shared = false;             // after fork: a write copies first
    std::shared_ptr<SwapSlot> swap;  // set: the contents are there, and `page` says nothing
  };

  Process(Kernel& kernel, Limits limits, std::unique_ptr<UserSpace> space);

  // handle_mm_fault(): afterwards the page is there and `intent` is allowed. EFAULT: no area, or no right.
  Result<PhysAddr, int> fault_in(VirtAddr at, paging::Intent intent);
  // The entry of an area's page, which has none yet, or has it on the swap device.
  Result<void, int> fault_new(VirtAddr at, const Vma& area);
  Result<void, int> swap_in(VirtAddr at, const Vma& area, Entry& entry);
  // do_wp_page(): the page is this process' alone.
  Result<void, int> unshare(VirtAddr at, const Vma& area, Entry& entry);
  // mm_pkey_is_allocated()
  [[nodiscard]] bool pkey_is_allocated(ProtectionKey pkey) const;
  // arch_vma_access_permitted()
  [[nodiscard]] bool pkru_allows(const Vma& area, paging::Intent intent) const;
  // 0, or why the range may not be pinned for long.
  [[nodiscard]] int forbids_pin(VirtAddr at, std::uint64_t pages);
  Result<void, int> copy_page(PhysAddr to, PhysAddr from, mem::KeySelector key);
  Result<void, int> fork_entry(Process& child, VirtAddr at, Entry& entry, const Vma& area);
  // Puts the page-table entry in the state that area and entry ask for.
  Result<void, int> update_table(VirtAddr at, const Vma& area, const Entry& entry);
  // zap_page_range(): drops the pages of a range; returns how many there were.
  std::uint64_t zap(VirtAddr first, VirtAddr end);
  [[nodiscard]] bool encryptable(VirtAddr at, VirtAddr end);
  void encrypt_area(Vma& area, mem::KeySelector key);
  void protect_area(Vma& area, Prot prot);

  Kernel* kernel_;
  Limits limits_;
  std::unique_ptr<UserSpace> space_;
  VmaMap areas_;
  std::map<VirtAddr, Entry> entries_;  // by page
  std::uint64_t pinned_ = 0;
  std::array<PkeyRights, 16> pkru_{};
  std::uint16_t pkeys_allocated_ = 1;  // mm_context_t::pkey_allocation_map
};

}  // namespace cbit::kernel
