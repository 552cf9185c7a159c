#include "kernel/mm/page_runs.hpp"

#include <iterator>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::kernel {

PageRuns::Runs::const_iterator PageRuns::run_at(std::uint64_t page) const {
  const auto after = runs_.upper_bound(page);
  return after == runs_.begin() ? runs_.end() : std::prev(after);
}

bool PageRuns::contains(std::uint64_t first, std::uint64_t pages) const {
  const auto run = run_at(first);
  return run != runs_.end() && first <= run->second && pages <= run->second - first;
}

bool PageRuns::overlaps(std::uint64_t first, std::uint64_t pages) const {
  if (pages == 0) return false;
  const auto run = run_at(first + (pages - 1));
  return run != runs_.end() && run->second > first;
}

void PageRuns::add(std::uint64_t first, std::uint64_t pages) {
  if (pages == 0) return;
  CBIT_ASSERT(!overlaps(first, pages));
  size_ += pages;
  std::uint64_t end = first + pages;
  if (const auto next = runs_.find(end); next != runs_.end()) {
    end = next->second;
    runs_.erase(next);
  }
  const auto before = run_at(first);
  if (before != runs_.end() && before->second == first) first = before->first;
  runs_[first] = end;
}

void PageRuns::remove(std::uint64_t first, std::uint64_t pages) {
  if (pages == 0) return;
  CBIT_ASSERT(contains(first, pages));
  size_ -= pages;
  const auto [begin, end] = *run_at(first);
  runs_.erase(begin);
  if (begin < first) runs_[begin] = first;
  if (first + pages < end) runs_[first + pages] = end;
}

std::optional<std::uint64_t> PageRuns::take(std::uint64_t pages, std::uint64_t end, std::uint64_t align) {
  for (const auto& [begin, run_end] : runs_) {
    const std::uint64_t first = align_up(begin, align);
    if (first >= end || pages > end - first) return std::nullopt;
    if (first >= run_end || pages > run_end - first) continue;
    remove(first, pages);
    return first;
  }
  return std::nullopt;
}

}  // namespace cbit::kernel
