#include "kernel/mm/process.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "kernel/mm/swap.hpp"

namespace cbit::kernel {
namespace {

bool allows(const Prot& prot, paging::Intent intent) {
  switch (intent) {
    case paging::Intent::read: return !prot.none();
    case paging::Intent::write: return prot.write;
    case paging::Intent::execute: return prot.exec;
  }
  return false;
}

}  // namespace

Result<VirtAddr, int> end_of_range(VirtAddr at, std::uint64_t bytes) {
  if (bytes > ~std::uint64_t{0} - (page_size - 1)) return tl::unexpected{ENOMEM};
  const VirtAddr end = at + align_up(bytes, page_size);
  if (end < at) return tl::unexpected{ENOMEM};
  return end;
}

Process::Process(Kernel& kernel, Limits limits, std::unique_ptr<UserSpace> space)
    : kernel_{&kernel}, limits_{limits}, space_{std::move(space)} {}

Result<std::unique_ptr<Process>, int> Process::create(Kernel& kernel, Limits limits) {
  auto space = kernel.mm().create_user_space();
  if (!space) return tl::unexpected{ENOMEM};
  return std::unique_ptr<Process>{new Process{kernel, limits, *std::move(space)}};
}

Process::~Process() { zap(VirtAddr{0}, VirtAddr{~std::uint64_t{0}}); }

// ---- areas ----------------------------------------------------------------------------------------------

Result<VirtAddr, int> Process::mmap(std::uint64_t bytes, Prot prot) {
  if (bytes == 0) return tl::unexpected{EINVAL};
  const VirtAddr length = CBIT_TRY(end_of_range(VirtAddr{0}, bytes));
  const auto at = space_->reserve(length.page_number());
  if (!at) return tl::unexpected{ENOMEM};
  const mem::KeySelector key = kernel_->mm().default_selector();
  areas_.add({.first = *at,
              .end = *at + length.value(),
              .prot = prot,
              .key = kernel_->mm().user_pages().key_ref(key),
              .backing = nullptr});
  return *at;
}

Result<VirtAddr, int> Process::mmap_backed(std::shared_ptr<Backing> backing, std::uint64_t first_page,
                                           std::uint64_t bytes, Prot prot) {
  if (bytes == 0) return tl::unexpected{EINVAL};
  const std::uint64_t count = CBIT_TRY(end_of_range(VirtAddr{0}, bytes)).page_number();
  if (first_page > backing->pages() || count > backing->pages() - first_page) return tl::unexpected{EINVAL};
  const auto at = space_->reserve(count);
  if (!at) return tl::unexpected{ENOMEM};
  const KeyIdRef key = kernel_->mm().user_pages().key_ref(backing->key());
  areas_.add({.first = *at,
              .end = *at + count * page_size,
              .prot = prot,
              .key = key,
              .backing = std::move(backing),
              .backing_first = first_page});
  return *at;
}

Result<void, int> Process::munmap(VirtAddr at, std::uint64_t bytes) {
  const auto end = end_of_range(at, bytes);
  if (!at.is_aligned(page_size) || bytes == 0 || !end || *end > UserSpace::end) return tl::unexpected{EINVAL};
  zap(at, *end);
  areas_.remove(at, *end);
  return {};
}

Result<void, int> Process::madvise_dontneed(VirtAddr at, std::uint64_t bytes) {
  const auto end = end_of_range(at, bytes);
  if (!at.is_aligned(page_size) || !end || *end > UserSpace::end) return tl::unexpected{EINVAL};
  if (!areas_.cover(at, *end)) return tl::unexpected{ENOMEM};
  const UserPages& pages = kernel_->mm().user_pages();
  for (auto it = entries_.lower_bound(at); it != entries_.end() && it->first < *end; ++it)
    if (it->second.swap == nullptr)
      kernel_->machine().tracer().emit(
          space_->mmu().agent(), PageDiscarded{it->first, it->second.page, pages.pins(it->second.page)});
  zap(at, *end);
  return {};
}

std::uint64_t Process::zap(VirtAddr first, VirtAddr end) {
  std::uint64_t pages = 0;
  for (auto it = entries_.lower_bound(first); it != entries_.end() && it->first < end; ++pages) {
    space_->unmap(it->first, 1);
    if (it->second.swap == nullptr) kernel_->mm().user_pages().unmap(it->second.page, {this, it->first});
    it = entries_.erase(it);
  }
  return pages;
}

// ---- faults ---------------------------------------------------------------------------------------------

Result<void, int> Process::update_table(VirtAddr at, const Vma& area, const Entry& entry) {
  space_->unmap(at, 1);
  if (area.prot.none()) return {};
  const paging::PageFlags flags{
      .writable = area.prot.write && !entry.shared, .user = true, .executable = area.prot.exec};
  if (!space_->map_page(at, entry.page, flags, area.key.id())) return tl::unexpected{ENOMEM};
  return {};
}

Result<PhysAddr, int> Process::fault_in(VirtAddr at, paging::Intent intent) {
  at = at.page();
  const Vma* area = areas_.find(at);
  if (area == nullptr || !allows(area->prot, intent) || !pkru_allows(*area, intent))
    return tl::unexpected{EFAULT};
  auto it = entries_.find(at);
  if (it == entries_.end()) {
    CBIT_TRY(fault_new(at, *area));
    it = entries_.find(at);
  }
  if (it->second.swap != nullptr) CBIT_TRY(swap_in(at, *area, it->second));
  if (intent == paging::Intent::write) {
    CBIT_TRY(unshare(at, *area, it->second));
    it->second.dirty = true;
  }
  return it->second.page;
}

// do_anonymous_page(), or what the backing has. The zero page is not used: it has no KeyID.
Result<void, int> Process::fault_new(VirtAddr at, const Vma& area) {
  UserPages& pages = kernel_->mm().user_pages();
  const PhysAddr page =
      CBIT_TRY(area.anonymous() ? pages.allocate(area.key.id()) : area.backing->page(area.backing_index(at)));
  const Entry entry{.page = page};
  if (const auto mapped = update_table(at, area, entry); !mapped) {
    pages.release(page);
    return mapped;
  }
  pages.map(page, {this, at});
  entries_.emplace(at, entry);
  return {};
}

// do_swap_page(): the new page is of the area's KeyID.
Result<void, int> Process::swap_in(VirtAddr at, const Vma& area, Entry& entry) {
  UserPages& pages = kernel_->mm().user_pages();
  const PhysAddr page = CBIT_TRY(pages.allocate(area.key.id()));
  auto done = entry.swap->device().read_page(entry.swap->index(), page);
  const Entry present{.page = page, .dirty = true};
  if (done) done = update_table(at, area, present);
  if (!done) {
    pages.release(page);
    return done;
  }
  entry.swap->swapped_in(kernel_->machine().tracer(), space_->mmu().agent(), page);
  pages.map(page, {this, at});
  entry = present;
  return {};
}

Result<void, int> Process::unshare(VirtAddr at, const Vma& area, Entry& entry) {
  if (!entry.shared) return {};
  UserPages& pages = kernel_->mm().user_pages();
  if (pages.mappings(entry.page).size() > 1) {
    const PhysAddr copy = CBIT_TRY(pages.allocate(area.key.id()));
    if (const auto copied = copy_page(copy, entry.page, area.key.id()); !copied) {
      pages.release(copy);
      return copied;
    }
    pages.map(copy, {this, at});
    pages.unmap(std::exchange(entry.page, copy), {this, at});
  }
  entry.shared = false;
  return update_table(at, area, entry);
}

// copy_user_highpage(): each page through the kernel's mapping for its key.
Result<void, int> Process::copy_page(PhysAddr to, PhysAddr from, mem::KeySelector key) {
  Mm& mm = kernel_->mm();
  const auto done = mm.cpu(0).copy(mm.phys_to_virt(to, key), mm.phys_to_virt(from, key), page_size);
  if (!done) return tl::unexpected{EFAULT};
  return {};
}

Result<void> Process::read(VirtAddr from, ByteSpan to) {
  while (!to.empty()) {
    const auto part = std::min<std::uint64_t>(to.size(), page_size - from.page_offset());
    // Where this fails the Mmu finds no right either, and says so; PKRU is not in its tables.
    static_cast<void>(fault_in(from, paging::Intent::read));
    if (const Vma* const area = areas_.find(from);
        area != nullptr && !pkru_allows(*area, paging::Intent::read))
      return fault(FaultKind::protection, from.value());
    CBIT_TRY(space_->mmu().read(from, to.first(part)));
    to = to.subspan(part);
    from += part;
  }
  return {};
}

Result<void> Process::write(VirtAddr to, ConstByteSpan from) {
  while (!from.empty()) {
    const auto part = std::min<std::uint64_t>(from.size(), page_size - to.page_offset());
    static_cast<void>(fault_in(to, paging::Intent::write));
    if (const Vma* const area = areas_.find(to);
        area != nullptr && !pkru_allows(*area, paging::Intent::write))
      return fault(FaultKind::protection, to.value(), true);
    CBIT_TRY(space_->mmu().write(to, from.first(part)));
    from = from.subspan(part);
    to += part;
  }
  return {};
}

std::optional<PhysAddr> Process::page_at(VirtAddr at) const {
  const auto it = entries_.find(at.page());
  if (it == entries_.end() || it->second.swap != nullptr) return std::nullopt;
  return it->second.page;
}

// ---- fork -----------------------------------------------------------------------------------------------

Result<std::unique_ptr<Process>, int> Process::fork() {
  auto space = kernel_->mm().create_user_space();
  if (!space) return tl::unexpected{ENOMEM};
  std::unique_ptr<Process> child{new Process{*kernel_, limits_, *std::move(space)}};
  child->space_->inherit_layout(*space_);
  child->areas_ = areas_;
  child->pkru_ = pkru_;
  child->pkeys_allocated_ = pkeys_allocated_;  // arch_dup_pkeys
  for (auto& [at, entry] : entries_) CBIT_TRY(fork_entry(*child, at, entry, *areas_.find(at)));
  return child;
}

// copy_present_pte
Result<void, int> Process::fork_entry(Process& child, VirtAddr at, Entry& entry, const Vma& area) {
  UserPages& pages = kernel_->mm().user_pages();
  Entry copy = entry;
  if (entry.swap != nullptr) {
    child.entries_.emplace(at, copy);
    return {};
  }
  if (area.anonymous() && pages.pins(entry.page) != 0) {
    copy = {.page = CBIT_TRY(pages.allocate(area.key.id())), .dirty = entry.dirty};
    if (const auto copied = copy_page(copy.page, entry.page, area.key.id()); !copied) {
      pages.release(copy.page);
      return copied;
    }
  } else if (area.anonymous()) {
    copy.shared = entry.shared = true;
    CBIT_TRY(update_table(at, area, entry));
  }
  pages.map(copy.page, {&child, at});
  child.entries_.emplace(at, copy);
  return child.update_table(at, area, copy);
}

// ---- pinning --------------------------------------------------------------------------------------------

// check_vma_flags(): VM_PFNMAP areas have no struct pages; FOLL_LONGTERM not on a file system's DAX pages,
// whose blocks it may want back.
int Process::forbids_pin(VirtAddr at, std::uint64_t pages) {
  int error = 0;
  if (pages > (~at.value() >> 12)) return EFAULT;
  areas_.for_each(at.page(), at + pages * page_size, [&](const Vma& area) {
    if (error != 0 || area.anonymous()) return;
    if (area.backing->kind() == Backing::Kind::device) error = EFAULT;
    if (area.backing->kind() == Backing::Kind::dax) error = EOPNOTSUPP;
  });
  return error;
}

Result<std::vector<PhysAddr>, int> Process::pin_user_pages(VirtAddr at, std::uint64_t pages, bool write) {
  UserPages& owners = kernel_->mm().user_pages();
  std::vector<PhysAddr> pinned;
  if (const int error = forbids_pin(at, pages); error != 0) return tl::unexpected{error};
  for (std::uint64_t n = 0; n < pages; ++n) {
    auto page = fault_in(at + n * page_size, write ? paging::Intent::write : paging::Intent::read);
    // FAULT_FLAG_UNSHARE: what a driver pins must stay this process' page, also if it only reads.
    if (page) {
      const VirtAddr where = (at + n * page_size).page();
      Entry& entry = entries_.at(where);
      if (const auto own = unshare(where, *areas_.find(where), entry); own)
        page = entry.page;
      else
        page = tl::unexpected{own.error()};
    }
    if (!page) {
      unpin_user_pages(pinned, false);
      return tl::unexpected{page.error()};
    }
    owners.pin(*page);
    pinned.push_back(*page);
  }
  return pinned;
}

void Process::unpin_user_pages(std::span<const PhysAddr> pages, bool dirty) {
  UserPages& owners = kernel_->mm().user_pages();
  for (const PhysAddr page : pages) {
    for (const UserPages::Mapping& mapping : owners.mappings(page))
      if (dirty) mapping.process->entries_.at(mapping.at).dirty = true;
    static_cast<void>(owners.unpin(page));
  }
}

Result<void, int> Process::account_pinned(std::uint64_t pages) {
  const std::uint64_t limit = limits_.memlock_bytes / page_size;
  const bool fits = pinned_ <= limit && pages <= limit - pinned_;
  if (!fits && !limits_.cap_ipc_lock) return tl::unexpected{ENOMEM};
  if (pages > ~std::uint64_t{0} - pinned_) return tl::unexpected{ENOMEM};
  pinned_ += pages;
  return {};
}

void Process::unaccount_pinned(std::uint64_t pages) { pinned_ -= std::min(pages, pinned_); }

}  // namespace cbit::kernel
