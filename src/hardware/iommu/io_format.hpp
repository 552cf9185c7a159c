// What key bits in I/O page tables mean. Internal to the room.
#pragma once

#include <utility>

#include "iommu/io_pte.hpp"
#include "mem/key_layout.hpp"

namespace cbit::iommu {

struct IoFormat {
  mem::KeyView view;         // leaves
  KeyId table_key = no_key;  // tables

  // Key bits of the device table's root pointer and of directory entries, as iommu_virt_to_phys() sets them.
  [[nodiscard]] mem::KeySelector table_selector() const {
    if (view.layout.mask() == 0) return 0;
    return view.selector_is_key ? table_key : static_cast<mem::KeySelector>(table_key != no_key);
  }
  [[nodiscard]] PtePhys point_to(PhysAddr table) const { return view.layout.join(table, table_selector()); }

  // Where a pointer leads, and the key that its bits select for reading there: a pointer that lost its C-bit
  // reads encrypted tables as noise.
  [[nodiscard]] std::pair<PhysAddr, KeyId> follow(PtePhys pointer) const {
    const auto [table, selector] = view.layout.split(pointer);
    return {table, selector == table_selector() ? table_key : view.key(selector)};
  }

  // Bytes that a leaf maps; 0 when it is malformed.
  [[nodiscard]] std::uint64_t leaf_bytes(IoPte leaf, unsigned level) const {
    if (leaf.get<IoPte::NextLevel>() == 0) return io_span(level);
    return io_decode_size(view.layout.split(leaf.target()).first, level);
  }
};

}  // namespace cbit::iommu
