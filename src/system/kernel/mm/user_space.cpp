// What a process has mapped.
#include "kernel/mm/mm.hpp"

namespace cbit::kernel {
namespace {

constexpr VirtAddr mmap_base{0x7f00'0000'0000};

}  // namespace

UserSpace::UserSpace(Mm& mm, paging::PageTable table, std::uint16_t cpu)
    : mm_{&mm},
      table_{std::move(table)},
      mmu_{mm.machine().memory(), mm.machine().tracer(), table_.config(), cpu},
      next_{mmap_base} {
  mmu_.load_cr3(table_.cr3());
  mmu_.set_privilege({.user = true});
  mmu_.set_io(&mm.machine().bus());
}

UserSpace::~UserSpace() { unmap(mmap_base, (next_ - mmap_base) / page_size); }

std::optional<VirtAddr> UserSpace::reserve(std::uint64_t pages) {
  const VirtAddr at = next_;
  if (pages >= (end - at) / page_size) return std::nullopt;
  next_ += (pages + 1) * page_size;
  return at;
}

Result<VirtAddr> UserSpace::remap_pfn_range(PhysAddr first, std::uint64_t pages, mem::KeySelector selector) {
  const auto at = reserve(pages);
  if (!at) return fault(FaultKind::no_memory, first.value());
  CBIT_TRY(map_at(*at, first.page(), pages, selector));
  std::vector<PhysAddr> frames;
  for (std::uint64_t i = 0; i < pages; ++i) frames.push_back(first.page() + i * page_size);
  mm_->report_mapped(mmu_, "user", *at, frames, selector, "remap_pfn_range");
  return *at;
}

Result<VirtAddr> UserSpace::map_pages(std::span<const PhysAddr> pages, mem::KeySelector selector) {
  const auto at = reserve(pages.size());
  if (!at) return fault(FaultKind::no_memory, 0);
  for (std::size_t i = 0; i < pages.size(); ++i)
    CBIT_TRY(map_at(*at + i * page_size, pages[i].page(), 1, selector));
  mm_->report_mapped(mmu_, "user", *at, pages, selector, "vm_map_pages");
  return *at;
}

Result<void> UserSpace::map_page(VirtAddr at, PhysAddr page, paging::PageFlags flags,
                                 mem::KeySelector selector, paging::PageCaching caching) {
  mm_->report_unmapped(mmu_, table_, at, 1);
  CBIT_TRY(table_.map({.at = at,
                       .phys = page,
                       .bytes = page_size,
                       .flags = flags,
                       .selector = selector,
                       .largest = paging::PageLevel::size_4k,
                       .caching = caching}));
  const PhysAddr frames[] = {page};
  mm_->report_mapped(mmu_, "user", at, frames, selector, "vmf_insert_pfn_prot");
  return {};
}

void UserSpace::unmap(VirtAddr at, std::uint64_t pages) {
  mm_->report_unmapped(mmu_, table_, at, pages);
  // Where the table in memory is not what was written there, nothing of it can be trusted, nor undone.
  static_cast<void>(table_.unmap(at, pages * page_size));
  mmu_.flush_range(at, pages * page_size);
}

Result<void> UserSpace::map_at(VirtAddr at, PhysAddr first, std::uint64_t pages, mem::KeySelector selector) {
  CBIT_TRY(table_.map({.at = at,
                       .phys = first,
                       .bytes = pages * page_size,
                       .flags = {.user = true},
                       .selector = selector,
                       .largest = paging::PageLevel::size_4k}));
  return {};
}

}  // namespace cbit::kernel
