#include "kernel/mm/vma.hpp"

#include <iterator>
#include <utility>

namespace cbit::kernel {

VmaMap::Areas::iterator VmaMap::overlapping(VirtAddr at) {
  const auto after = areas_.upper_bound(at);
  if (after == areas_.begin()) return after;
  const auto before = std::prev(after);
  return before->second.end > at ? before : after;
}

const Vma* VmaMap::find(VirtAddr at) const {
  const auto after = areas_.upper_bound(at);
  if (after == areas_.begin()) return nullptr;
  const Vma& area = std::prev(after)->second;
  return at < area.end ? &area : nullptr;
}

bool VmaMap::cover(VirtAddr first, VirtAddr end) const {
  while (first < end) {
    const Vma* area = find(first);
    if (area == nullptr) return false;
    first = area->end;
  }
  return true;
}

void VmaMap::split_at(VirtAddr at) {
  const auto it = overlapping(at);
  if (it == areas_.end() || it->second.first >= at) return;
  Vma upper = it->second;
  upper.backing_first = upper.backing_index(at);
  upper.first = at;
  it->second.end = at;
  add(std::move(upper));
}

void VmaMap::split(VirtAddr first, VirtAddr end) {
  split_at(first);
  split_at(end);
}

void VmaMap::remove(VirtAddr first, VirtAddr end) {
  split(first, end);
  areas_.erase(areas_.lower_bound(first), areas_.lower_bound(end));
}

void VmaMap::merge(VirtAddr first, VirtAddr end) {
  auto it = overlapping(first);
  if (it != areas_.begin()) --it;
  while (it != areas_.end() && it->second.first <= end) {
    const auto next = std::next(it);
    if (next == areas_.end() || !it->second.merges_with(next->second)) {
      ++it;
      continue;
    }
    it->second.end = next->second.end;
    areas_.erase(next);
  }
}

}  // namespace cbit::kernel
