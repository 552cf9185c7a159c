#include "kernel/mm/user_pages.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/assert.hpp"
#include "base/cost.hpp"
#include "kernel/mm/mm.hpp"

namespace cbit::kernel {

UserPages::UserPages(Mm& mm, bool counts_keys)
    : mm_{&mm}, counts_keys_{counts_keys}, clear_site_{mm.machine().tracer().intern("clear_page")} {}

// prep_encrypted_page and free_encrypted_page
void UserPages::change_key(PhysAddr page, mem::KeySelector from, mem::KeySelector to) {
  if (!counts_keys_ || from == to) return;
  paging::Mmu& cpu = mm_->cpu(0);
  Tracer& tracer = mm_->machine().tracer();
  constexpr std::uint64_t lines = page_size / cache_line_size;
  mm_->machine().memory().flush(page, page_size);
  tracer.emit(cpu.agent(), Flush{FlushKind::clflush, lines, clear_site_}, lines * cost::clflush_line_ns);
  tracer.emit(cpu.agent(), PageKeyChanged{page, from, to, clear_site_});
}

Result<PhysAddr, int> UserPages::allocate(mem::KeySelector key) {
  const auto page = mm_->page_allocator().allocate(1);
  if (!page) return tl::unexpected{ENOMEM};
  change_key(*page, 0, key);
  paging::Mmu& cpu = mm_->cpu(0);
  const paging::SiteScope site{cpu, clear_site_};
  if (!cpu.fill(mm_->phys_to_virt(*page, key), page_size, std::byte{0})) {
    mm_->page_allocator().free(*page, 1);
    return tl::unexpected{ENOMEM};
  }
  pages_.emplace(*page, Page{.key = key_ref(key)});
  return *page;
}

void UserPages::adopt(PhysAddr page, mem::KeySelector key) {
  change_key(page, 0, key);
  pages_.emplace(page, Page{.key = key_ref(key), .adopted = true});
}

void UserPages::disown(PhysAddr page) {
  const auto it = pages_.find(page);
  CBIT_ASSERT(it != pages_.end() && it->second.adopted && it->second.mappings.empty());
  change_key(page, it->second.key.id(), 0);
  pages_.erase(it);
}

void UserPages::pass_ownership(PhysAddr from, PhysAddr to) {
  pages_.at(to).adopted = std::exchange(pages_.at(from).adopted, false);
}

void UserPages::release(PhysAddr page) { release_if_unused(page); }

void UserPages::release_if_unused(PhysAddr page) {
  const auto it = pages_.find(page);
  if (it->second.adopted || it->second.pins != 0 || !it->second.mappings.empty()) return;
  change_key(page, it->second.key.id(), 0);
  pages_.erase(it);
  mm_->page_allocator().free(page, 1);
}

void UserPages::map(PhysAddr page, const Mapping& mapping) { pages_.at(page).mappings.push_back(mapping); }

void UserPages::unmap(PhysAddr page, const Mapping& mapping) {
  auto& mappings = pages_.at(page).mappings;
  const auto it = std::ranges::find(mappings, mapping);
  CBIT_ASSERT(it != mappings.end());
  mappings.erase(it);
  release_if_unused(page);
}

void UserPages::pin(PhysAddr page) { ++pages_.at(page).pins; }

bool UserPages::unpin(PhysAddr page) {
  const auto it = pages_.find(page);
  if (it == pages_.end() || it->second.pins == 0) return false;
  --it->second.pins;
  release_if_unused(page);
  return true;
}

mem::KeySelector UserPages::key(PhysAddr page) const {
  const auto it = pages_.find(page.page());
  return it == pages_.end() ? mem::KeySelector{0} : it->second.key.id();
}

std::uint64_t UserPages::pins(PhysAddr page) const {
  const auto it = pages_.find(page.page());
  return it == pages_.end() ? 0 : it->second.pins;
}

std::span<const UserPages::Mapping> UserPages::mappings(PhysAddr page) const {
  const auto it = pages_.find(page.page());
  if (it == pages_.end()) return {};
  return it->second.mappings;
}

}  // namespace cbit::kernel
