#include "paging/tlb.hpp"

#include <algorithm>

namespace cbit::paging {

Tlb::Tlb() {
  for (std::size_t level = 0; level < arrays_.size(); ++level) arrays_[level].resize(entries_[level]);
}

const Translation* Tlb::insert(VirtAddr at, const Translation& translation) {
  const auto level = static_cast<unsigned>(translation.level);
  const std::uint64_t number = span_number(at, level);
  Entry& entry = arrays_[level][number & (entries_[level] - 1)];
  entry = {number, translation};
  entry.translation.phys = PhysAddr{align_down(translation.phys.value(), level_bytes(translation.level))};
  return &entry.translation;
}

void Tlb::flush_range(VirtAddr at, std::uint64_t bytes) {
  if (bytes == 0) return;
  const VirtAddr last_byte = at + std::min(bytes - 1, ~at.value());
  for (unsigned level = 0; level < arrays_.size(); ++level) {
    const std::uint64_t first = span_number(at, level);
    const std::uint64_t last = span_number(last_byte, level);
    // A page has one place; a range longer than the array has them all.
    const std::uint64_t places = std::min(last - first, entries_[level] - 1);
    for (std::uint64_t number = first; number <= first + places; ++number) {
      Entry& entry = arrays_[level][number & (entries_[level] - 1)];
      if (entry.tag >= first && entry.tag <= last) entry.tag = no_tag;
    }
  }
}

void Tlb::flush_non_global() {
  for (auto& array : arrays_)
    for (Entry& entry : array)
      if (!entry.translation.flags.global) entry.tag = no_tag;
}

void Tlb::flush_all() {
  for (auto& array : arrays_)
    for (Entry& entry : array) entry.tag = no_tag;
}

}  // namespace cbit::paging
