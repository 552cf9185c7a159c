// What an IOMMU holds of translations, be they still in its table or not.
//
// The architecture lets it cache any translation from the moment that the table has it until software
// invalidates it, used or not (AMD I/O Virtualization Technology specification, 2.2.7 and 2.4.3). The model
// kernel's IOMMU takes the most of that: everything that was unmapped is held. The register-level one holds
// what was used. Rights are those of the entry. Threading: any.
#pragma once

#include <cstddef>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "iommu/iommu.hpp"

namespace cbit::iommu {

class Iotlb {
 public:
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  // A full one forgets all before it holds another translation.
  explicit Iotlb(std::size_t entries_max = unlimited) : entries_max_{entries_max} {}

  void hold(DmaAddr at, const IommuTranslation& translation, IommuAccess rights);
  // Adds to what is held of the same bytes.
  void hold_more(DmaAddr at, const IommuTranslation& translation, IommuAccess rights);
  void drop();
  // All translations of bytes in [first, last].
  void drop(DmaAddr first, DmaAddr last);
  // nullopt: it has none with this right.
  [[nodiscard]] std::optional<IommuTranslation> find(DmaAddr at, bool write) const;

 private:
  struct Entry {
    IommuTranslation translation;  // of its first byte
    IommuAccess rights;
  };
  std::size_t entries_max_;
  mutable std::mutex mutex_;
  std::map<DmaAddr, Entry> entries_;  // by first address
};

}  // namespace cbit::iommu
