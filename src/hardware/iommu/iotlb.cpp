#include "iommu/iotlb.hpp"

namespace cbit::iommu {

void Iotlb::hold(DmaAddr at, const IommuTranslation& translation, IommuAccess rights) {
  const std::scoped_lock hold{mutex_};
  entries_.insert_or_assign(at, Entry{translation, rights});
}

void Iotlb::drop() {
  const std::scoped_lock hold{mutex_};
  entries_.clear();
}

std::optional<IommuTranslation> Iotlb::find(DmaAddr at, bool write) const {
  const std::scoped_lock hold{mutex_};
  auto entry = entries_.upper_bound(at);
  if (entry == entries_.begin()) return std::nullopt;
  const auto& [first, held] = *--entry;
  const std::uint64_t offset = at - first;
  if (offset >= held.translation.bytes || !(write ? held.rights.write : held.rights.read))
    return std::nullopt;
  IommuTranslation translation = held.translation;
  translation.phys += offset;
  translation.bytes -= offset;
  return translation;
}

}  // namespace cbit::iommu
