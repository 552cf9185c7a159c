// What an IOMMU may still hold of translations that its table has let go of.
//
// The architecture lets it cache any translation from the moment that the table has it until software
// invalidates it, used or not (AMD I/O Virtualization Technology specification, 2.2.7 and 2.4.3). The model
// takes the most of that: everything that was unmapped is held. Rights are those of the entry.
// Threading: any.
#pragma once

#include <map>
#include <mutex>
#include <optional>

#include "iommu/iommu.hpp"

namespace cbit::iommu {

class Iotlb {
 public:
  void hold(DmaAddr at, const IommuTranslation& translation, IommuAccess rights);
  void drop();
  // nullopt: it has none with this right.
  [[nodiscard]] std::optional<IommuTranslation> find(DmaAddr at, bool write) const;

 private:
  struct Entry {
    IommuTranslation translation;  // of its first byte
    IommuAccess rights;
  };
  mutable std::mutex mutex_;
  std::map<DmaAddr, Entry> entries_;  // by first address
};

}  // namespace cbit::iommu
