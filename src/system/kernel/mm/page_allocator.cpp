#include "kernel/mm/page_allocator.hpp"

#include <algorithm>
#include <bit>
#include <ranges>

#include "base/assert.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t low_memory_end = (1ull << 20) / page_size;
constexpr std::uint64_t dma_end = (16ull << 20) / page_size;
constexpr std::uint64_t dma32_end = (4ull << 30) / page_size;
constexpr std::uint64_t last_end = (1ull << 52) / page_size;

}  // namespace

PageAllocator::PageAllocator(const std::vector<mem::PhysRange>& ram)
    : zones_{{{0, dma_end, {}}, {dma_end, dma32_end, {}}, {dma32_end, last_end, {}}}} {
  for (const mem::PhysRange& range : ram) {
    const std::uint64_t first = std::max(range.first.page_number(), low_memory_end);
    const std::uint64_t end = range.end().page_number();
    if (first < end) managed_.add(first, end - first);
    if (first < end)
      for_each_part(first, end - first, [](Zone& zone, auto at, auto pages) { zone.free.add(at, pages); });
  }
}

template <class Visit>
void PageAllocator::for_each_part(std::uint64_t first, std::uint64_t pages, Visit&& visit) {
  for (Zone& zone : zones_) {
    const std::uint64_t begin = std::max(first, zone.first);
    const std::uint64_t end = std::min(first + pages, zone.end);
    if (begin < end) visit(zone, begin, end - begin);
  }
}

std::optional<PhysAddr> PageAllocator::allocate(std::uint64_t pages, std::uint64_t limit,
                                                std::uint64_t align_pages) {
  CBIT_ASSERT(std::has_single_bit(align_pages));
  if (pages == 0) return std::nullopt;
  const std::uint64_t whole_pages = limit / page_size + (limit % page_size == page_size - 1 ? 1 : 0);
  for (Zone& zone : std::views::reverse(zones_))
    if (const auto first = zone.free.take(pages, whole_pages, align_pages))
      return PhysAddr{*first * page_size};
  return std::nullopt;
}

bool PageAllocator::allocate_at(PhysAddr first, std::uint64_t pages) {
  const std::uint64_t number = first.page_number();
  if (!first.is_aligned(page_size) || pages == 0 || !managed_.contains(number, pages)) return false;
  bool all_free = true;
  for_each_part(number, pages,
                [&](Zone& zone, auto at, auto count) { all_free &= zone.free.contains(at, count); });
  if (!all_free) return false;
  for_each_part(number, pages, [](Zone& zone, auto at, auto count) { zone.free.remove(at, count); });
  return true;
}

void PageAllocator::free(PhysAddr first, std::uint64_t pages) {
  CBIT_ASSERT(first.is_aligned(page_size) && managed_.contains(first.page_number(), pages));
  // add() asserts that no page of it is free already.
  for_each_part(first.page_number(), pages,
                [](Zone& zone, auto at, auto count) { zone.free.add(at, count); });
}

std::uint64_t PageAllocator::free_pages() const {
  std::uint64_t pages = 0;
  for (const Zone& zone : zones_) pages += zone.free.size();
  return pages;
}

}  // namespace cbit::kernel
