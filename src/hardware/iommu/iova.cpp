#include "iommu/iova.hpp"

#include <algorithm>
#include <bit>

namespace cbit::iommu {
namespace {

constexpr std::uint64_t pages_end = std::uint64_t{1} << 52;

// Sizes below this one are kept in caches by power of two: 1 << (IOVA_RANGE_CACHE_MAX_SIZE - 1).
constexpr std::uint64_t cached_pages_end = 32;

std::uint64_t pages_used_for(std::uint64_t pages) {
  return pages < cached_pages_end ? std::bit_ceil(pages) : pages;
}

}  // namespace

IovaAllocator::IovaAllocator() : gaps_{{1, pages_end}} {}

std::optional<DmaAddr> IovaAllocator::allocate(std::uint64_t pages, std::uint64_t limit) {
  const std::uint64_t end = limit / page_size + (limit % page_size == page_size - 1 ? 1 : 0);
  if (pages == 0 || pages > end) return std::nullopt;
  const std::uint64_t used = pages_used_for(pages);
  for (auto gap = gaps_.lower_bound(end); gap != gaps_.begin();) {
    --gap;
    const std::uint64_t gap_end = std::min(gap->second, end);
    if (gap_end - gap->first < used) continue;
    const std::uint64_t first = align_down(gap_end - used, std::bit_ceil(used));
    if (first < gap->first) continue;
    take(gap, first, used);
    return DmaAddr{first * page_size};
  }
  return std::nullopt;
}

std::optional<DmaAddr> IovaAllocator::allocate_pci(std::uint64_t pages, std::uint64_t limit) {
  if (limit > bit_mask(32)) {
    if (const auto low = allocate(pages, bit_mask(32))) return low;
  }
  return allocate(pages, limit);
}

bool IovaAllocator::reserve(DmaAddr first, std::uint64_t pages) {
  const std::uint64_t page = first.page_number();
  const auto gap = gaps_.upper_bound(page);
  if (!first.is_aligned(page_size) || pages == 0 || gap == gaps_.begin()) return false;
  const auto around = std::prev(gap);
  if (around->second <= page || around->second - page < pages) return false;
  take(around, page, pages);
  return true;
}

void IovaAllocator::take(Gaps::iterator gap, std::uint64_t first, std::uint64_t pages) {
  const auto [gap_first, gap_end] = *gap;
  gaps_.erase(gap);
  if (gap_first < first) gaps_.emplace(gap_first, first);
  if (first + pages < gap_end) gaps_.emplace(first + pages, gap_end);
  taken_.emplace(first, pages);
}

bool IovaAllocator::release(DmaAddr first, std::uint64_t pages) {
  const auto range = taken_.find(first.page_number());
  if (!first.is_aligned(page_size) || pages == 0 || range == taken_.end()) return false;
  if (range->second != pages && range->second != pages_used_for(pages)) return false;

  std::uint64_t gap_first = range->first;
  std::uint64_t gap_end = range->first + range->second;
  taken_.erase(range);
  const auto above = gaps_.lower_bound(gap_end);
  if (above != gaps_.end() && above->first == gap_end) {
    gap_end = above->second;
    gaps_.erase(above);
  }
  const auto below = gaps_.lower_bound(gap_first);
  if (below != gaps_.begin() && std::prev(below)->second == gap_first) {
    gap_first = std::prev(below)->first;
    gaps_.erase(std::prev(below));
  }
  gaps_.emplace(gap_first, gap_end);
  return true;
}

}  // namespace cbit::iommu
