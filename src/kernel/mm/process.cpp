#include "kernel/mm/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace cbit {
namespace {

bool allows(const Prot& prot, Intent intent) {
  switch (intent) {
    case Intent::read: return !prot.none();
    case Intent::write: return prot.write;
    case Intent::execute: return prot.exec;
  }
  return false;
}

// The end of a range whose length is rounded up to pages; ENOMEM where it wraps around.
Result<VirtAddr, int> end_of(VirtAddr at, std::uint64_t bytes) {
  if (bytes > ~std::uint64_t{0} - (page_size - 1)) return tl::unexpected{ENOMEM};
  const VirtAddr end = at + align_up(bytes, page_size);
  if (end < at) return tl::unexpected{ENOMEM};
  return end;
}

}  // namespace

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
  const VirtAddr length = CBIT_TRY(end_of(VirtAddr{0}, bytes));
  const auto at = space_->reserve(length.page_number());
  if (!at) return tl::unexpected{ENOMEM};
  const KeySelector key = kernel_->mm().default_selector();
  areas_.add({*at, *at + length.value(), prot, kernel_->mm().user_pages().key_ref(key)});
  return *at;
}

Result<void, int> Process::munmap(VirtAddr at, std::uint64_t bytes) {
  const auto end = end_of(at, bytes);
  if (!at.is_aligned(page_size) || bytes == 0 || !end || *end > UserSpace::end) return tl::unexpected{EINVAL};
  zap(at, *end);
  areas_.remove(at, *end);
  return {};
}

Result<void, int> Process::mprotect(VirtAddr at, std::uint64_t bytes, Prot prot) {
  if (!at.is_aligned(page_size)) return tl::unexpected{EINVAL};
  if (bytes == 0) return {};
  const VirtAddr end = CBIT_TRY(end_of(at, bytes));
  VirtAddr reached = at;
  areas_.split(at, end);
  areas_.for_each(at, end, [&](Vma& area) {
    if (area.first != reached) return;
    reached = area.end;
    protect_area(area, prot);
  });
  areas_.merge(at, end);
  if (reached != end) return tl::unexpected{ENOMEM};
  return {};
}

void Process::protect_area(Vma& area, Prot prot) {
  area.prot = prot;
  for (auto it = entries_.lower_bound(area.first); it != entries_.end() && it->first < area.end; ++it)
    // The page's tables are there already, so that this cannot fail for want of memory.
    static_cast<void>(update_table(it->first, area, it->second));
}

std::uint64_t Process::zap(VirtAddr first, VirtAddr end) {
  std::uint64_t pages = 0;
  for (auto it = entries_.lower_bound(first); it != entries_.end() && it->first < end; ++pages) {
    space_->unmap(it->first, 1);
    kernel_->mm().user_pages().unmap(it->second.page, {this, it->first});
    it = entries_.erase(it);
  }
  return pages;
}

// ---- faults ---------------------------------------------------------------------------------------------

Result<void, int> Process::update_table(VirtAddr at, const Vma& area, const Entry& entry) {
  space_->unmap(at, 1);
  if (area.prot.none()) return {};
  const PageFlags flags{
      .writable = area.prot.write && !entry.shared, .user = true, .executable = area.prot.exec};
  if (!space_->map_page(at, entry.page, flags, area.key.id())) return tl::unexpected{ENOMEM};
  return {};
}

Result<PhysAddr, int> Process::fault_in(VirtAddr at, Intent intent) {
  at = at.page();
  const Vma* area = areas_.find(at);
  if (area == nullptr || !allows(area->prot, intent)) return tl::unexpected{EFAULT};
  UserPages& pages = kernel_->mm().user_pages();
  auto it = entries_.find(at);
  if (it == entries_.end()) {
    const PhysAddr page = CBIT_TRY(pages.allocate(area->key.id()));
    const Entry entry{page};
    if (const auto mapped = update_table(at, *area, entry); !mapped) {
      pages.release(page);
      return tl::unexpected{mapped.error()};
    }
    pages.map(page, {this, at});
    it = entries_.emplace(at, entry).first;
  }
  if (intent == Intent::write) {
    CBIT_TRY(unshare(at, *area, it->second));
    it->second.dirty = true;
  }
  return it->second.page;
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
Result<void, int> Process::copy_page(PhysAddr to, PhysAddr from, KeySelector key) {
  Mm& mm = kernel_->mm();
  const auto done = mm.cpu(0).copy(mm.phys_to_virt(to, key), mm.phys_to_virt(from, key), page_size);
  if (!done) return tl::unexpected{EFAULT};
  return {};
}

Result<void> Process::read(VirtAddr from, ByteSpan to) {
  while (!to.empty()) {
    const auto part = std::min<std::uint64_t>(to.size(), page_size - from.page_offset());
    // Where this fails the Mmu finds no right either, and says so.
    static_cast<void>(fault_in(from, Intent::read));
    CBIT_TRY(space_->mmu().read(from, to.first(part)));
    to = to.subspan(part);
    from += part;
  }
  return {};
}

Result<void> Process::write(VirtAddr to, ConstByteSpan from) {
  while (!from.empty()) {
    const auto part = std::min<std::uint64_t>(from.size(), page_size - to.page_offset());
    static_cast<void>(fault_in(to, Intent::write));
    CBIT_TRY(space_->mmu().write(to, from.first(part)));
    from = from.subspan(part);
    to += part;
  }
  return {};
}

std::optional<PhysAddr> Process::page_at(VirtAddr at) const {
  const auto it = entries_.find(at.page());
  return it == entries_.end() ? std::nullopt : std::optional{it->second.page};
}

// ---- fork -----------------------------------------------------------------------------------------------

Result<std::unique_ptr<Process>, int> Process::fork() {
  auto space = kernel_->mm().create_user_space();
  if (!space) return tl::unexpected{ENOMEM};
  std::unique_ptr<Process> child{new Process{*kernel_, limits_, *std::move(space)}};
  child->space_->inherit_layout(*space_);
  child->areas_ = areas_;
  for (auto& [at, entry] : entries_) CBIT_TRY(fork_entry(*child, at, entry, *areas_.find(at)));
  return child;
}

// copy_present_pte
Result<void, int> Process::fork_entry(Process& child, VirtAddr at, Entry& entry, const Vma& area) {
  UserPages& pages = kernel_->mm().user_pages();
  Entry copy = entry;
  if (pages.pins(entry.page) != 0) {
    copy = {.page = CBIT_TRY(pages.allocate(area.key.id())), .dirty = entry.dirty};
    if (const auto copied = copy_page(copy.page, entry.page, area.key.id()); !copied) {
      pages.release(copy.page);
      return copied;
    }
  } else {
    copy.shared = entry.shared = true;
    CBIT_TRY(update_table(at, area, entry));
  }
  pages.map(copy.page, {&child, at});
  child.entries_.emplace(at, copy);
  return child.update_table(at, area, copy);
}

// ---- pinning --------------------------------------------------------------------------------------------

Result<std::vector<PhysAddr>, int> Process::pin_user_pages(VirtAddr at, std::uint64_t pages, bool write) {
  UserPages& owners = kernel_->mm().user_pages();
  std::vector<PhysAddr> pinned;
  for (std::uint64_t n = 0; n < pages; ++n) {
    auto page = fault_in(at + n * page_size, write ? Intent::write : Intent::read);
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

}  // namespace cbit
