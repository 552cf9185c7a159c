#include "iommu/iotlb.hpp"

#include <iterator>

namespace cbit::iommu {

void Iotlb::hold(DmaAddr at, const IommuTranslation& translation, IommuAccess rights) {
  const std::scoped_lock hold{mutex_};
  if (entries_.size() >= entries_max_) entries_.clear();
  entries_.insert_or_assign(at, Entry{translation, rights});
}

void Iotlb::hold_more(DmaAddr at, const IommuTranslation& translation, IommuAccess rights) {
  {
    const std::scoped_lock hold{mutex_};
    if (const auto held = entries_.find(at);
        held != entries_.end() && held->second.translation == translation) {
      held->second.rights.read |= rights.read;
      held->second.rights.write |= rights.write;
      return;
    }
  }
  hold(at, translation, rights);
}

void Iotlb::drop() {
  const std::scoped_lock hold{mutex_};
  entries_.clear();
}

void Iotlb::drop(DmaAddr first, DmaAddr last) {
  const std::scoped_lock hold{mutex_};
  auto entry = entries_.upper_bound(first);
  if (entry != entries_.begin()) {
    const auto before = std::prev(entry);
    if (first - before->first < before->second.translation.bytes) entry = before;
  }
  while (entry != entries_.end() && entry->first <= last) entry = entries_.erase(entry);
}

std::optional<IommuTranslation> Iotlb::find(DmaAddr at, bool write) const {
  const std::scoped_lock hold{mutex_};
  auto entry = entries_.upper_bound(at);
  if (entry == entries_.begin()) return std::nullopt;
  const auto& [first, held] = *--entry;
  const std::uint64_t offset = at - first;
  if (offset >= held.translation.bytes || !(write ? held.rights.write : held.rights.read))
    return std::nullopt;
  return held.translation.at(offset);
}

}  // namespace cbit::iommu
