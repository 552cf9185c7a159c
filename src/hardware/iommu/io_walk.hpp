// The hardware's way through an I/O page table: reads entries and believes nothing. Internal to the room.
//
// Each step goes to a lower level, so no table, however malformed, makes the walk longer than io_levels_max.
#pragma once

#include "iommu/io_format.hpp"
#include "iommu/iommu.hpp"

namespace cbit::iommu {

// `read(PhysAddr, KeyId) -> Result<IoPte>` fetches an entry. The entry's mode is 1 to 6.
//
// Rights are those that the device table entry and all levels grant together. Address bits that a table does
// not translate, at the top or where a directory entry skips levels, have to be zero.
template <class Read>
Result<IommuTranslation> walk(const IoFormat& format, IoDte dte, DmaAddr at, bool write, Read&& read) {
  unsigned level = dte.get<IoDte::Mode>();
  if (at.value() > io_last_address(level)) return fault(FaultKind::iommu_not_present, at.value(), write);
  bool permitted = write ? dte.get<IoDte::Iw>() : dte.get<IoDte::Ir>();
  PtePhys pointer = dte.root();
  for (;;) {
    const auto [table, key] = format.follow(pointer);
    const IoPte entry = CBIT_TRY(read(table + io_index(at, level) * sizeof(IoPte), key));
    const unsigned next = entry.get<IoPte::NextLevel>();
    if (!entry.get<IoPte::Pr>()) return fault(FaultKind::iommu_not_present, at.value(), write);
    if (entry.has_reserved_bits()) return fault(FaultKind::iommu_reserved_bit, at.value(), write);
    permitted &= write ? entry.get<IoPte::Iw>() : entry.get<IoPte::Ir>();

    if (entry.is_leaf()) {
      const std::uint64_t bytes = format.leaf_bytes(entry, level);
      if (bytes == 0) return fault(FaultKind::iommu_reserved_bit, at.value(), write);
      if (!permitted) return fault(FaultKind::iommu_protection, at.value(), write);
      const auto [code, selector] = format.view.layout.split(entry.target());
      const std::uint64_t offset = at.value() % bytes;
      return IommuTranslation{.phys = PhysAddr{align_down(code.value(), bytes)} + offset,
                              .key = format.view.key(selector),
                              .encrypted = selector != 0,
                              .bytes = bytes - offset,
                              .translated = true};
    }
    if (next >= level) return fault(FaultKind::iommu_reserved_bit, at.value(), write);
    if (at.value() % io_span(level) > io_last_address(next))
      return fault(FaultKind::iommu_not_present, at.value(), write);
    level = next;
    pointer = entry.target();
  }
}

}  // namespace cbit::iommu
