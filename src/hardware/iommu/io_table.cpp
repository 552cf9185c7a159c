#include "iommu/io_table.hpp"

#include <algorithm>
#include <array>

namespace cbit::iommu {
namespace {

// AMD_IOMMU_PGSIZES: all powers of two from 4 KiB except 512 GiB, which the hardware gets wrong.
constexpr std::uint64_t leaf_sizes = ~bit_mask(12) & ~(std::uint64_t{1} << 39);

// The largest leaf at the start of a range: iommu_pgsize() in drivers/iommu/iommu.c.
std::uint64_t first_leaf(DmaAddr iova, PhysAddr phys, std::uint64_t bytes) {
  const std::uint64_t alignment = iova.value() | phys.value();
  std::uint64_t sizes = leaf_sizes & (std::bit_floor(bytes) * 2 - 1);
  if (alignment != 0) sizes &= bit_mask(static_cast<unsigned>(std::countr_zero(alignment)) + 1);
  return std::bit_floor(sizes);
}

// PM_LEVEL_PDE
IoPte directory_entry(PtePhys table, unsigned level) {
  return IoPte{{table.value()}}
      .with<IoPte::Pr>(true)
      .with<IoPte::NextLevel>(level)
      .with<IoPte::Ir>(true)
      .with<IoPte::Iw>(true);
}

DmaAddr aligned_down(DmaAddr at, std::uint64_t bytes) { return DmaAddr{align_down(at.value(), bytes)}; }

}  // namespace

IoTable::~IoTable() {
  for (const auto& [place, table] : tables_) source_.release(table);
}

Result<void> IoTable::create(unsigned mode) {
  const PhysAddr root = CBIT_TRY(new_table());
  tables_[{mode, DmaAddr{0}}] = root;
  const IoDte dte = IoDte{{format_.point_to(root).value()}}
                        .with<IoDte::V>(true)
                        .with<IoDte::Tv>(true)
                        .with<IoDte::Ir>(true)
                        .with<IoDte::Iw>(true)
                        .with<IoDte::Mode>(mode);
  dte_.store(dte.raw, std::memory_order_release);
  return {};
}

Result<PhysAddr> IoTable::new_table() {
  const PhysAddr table = CBIT_TRY(source_.allocate());
  if (const auto cleared = memory_->fill(table, page_size, std::byte{0}, access()); !cleared) {
    source_.release(table);
    return tl::unexpected{cleared.error()};
  }
  return table;
}

// increase_address_space()
Result<void> IoTable::grow(DmaAddr last, unsigned level) {
  for (;;) {
    const IoDte now = dte();
    const unsigned mode = now.get<IoDte::Mode>();
    if (mode >= level && last.value() <= io_last_address(mode)) return {};
    const PhysAddr root = CBIT_TRY(new_table());
    tables_[{mode + 1, DmaAddr{0}}] = root;
    CBIT_TRY(write({root, mode + 1, {}}, io_span(mode + 1), directory_entry(now.root(), mode)));
    const IoDte next = IoDte{{now.raw & ~IoPte::address_mask}}.with<IoDte::Mode>(mode + 1);
    dte_.store(next.raw | format_.point_to(root).value(), std::memory_order_release);
  }
}

Result<void> IoTable::map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IoPte flags,
                          mem::KeySelector selector) {
  CBIT_TRY(check_unmapped(iova, bytes));
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t leaf = first_leaf(iova + done, phys + done, bytes - done);
    if (const auto placed = place(iova + done, phys + done, leaf, flags, selector); !placed) {
      unmap(iova, done);
      return placed;
    }
    done += leaf;
  }
  return {};
}

Result<void> IoTable::check_unmapped(DmaAddr iova, std::uint64_t bytes) const {
  const std::uint64_t last = io_last_address(dte().get<IoDte::Mode>());
  if (iova.value() > last) return {};
  bytes = std::min(bytes - 1, last - iova.value()) + 1;
  for (std::uint64_t done = 0; done < bytes;) {
    const DmaAddr at = iova + done;
    const Slot slot = CBIT_TRY(find(at));
    if (slot.entry.get<IoPte::Pr>()) return fault(FaultKind::iommu_protection, at.value());
    done += io_span(slot.level) - at.value() % io_span(slot.level);
  }
  return {};
}

Result<void> IoTable::place(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IoPte flags,
                            mem::KeySelector selector) {
  const unsigned level = io_leaf_level(bytes);
  CBIT_TRY(grow(iova + (bytes - 1), level));
  Slot slot = CBIT_TRY(find(iova, level));
  while (slot.level > level) {
    const Place below{slot.level - 1, aligned_down(iova, io_span(slot.level))};
    const PhysAddr table = CBIT_TRY(new_table());
    release_below(slot.level, below.second,
                  io_span(slot.level));  // left over where somebody cleared the entry
    tables_[below] = table;
    CBIT_TRY(write(slot, io_span(slot.level), directory_entry(format_.point_to(table), below.first)));
    slot = CBIT_TRY(find(iova, level));
  }
  const bool natural = bytes == io_span(level);
  const PhysAddr address{natural ? phys.value() : io_encode_size(phys, bytes)};
  const IoPte leaf{{flags.raw | format_.view.layout.join(address, selector).value()}};
  CBIT_TRY(write(slot, bytes, leaf.with<IoPte::NextLevel>(natural ? 0 : 7)));
  release_below(level, iova, bytes);
  return {};
}

// Empty tables stay until a larger leaf takes their place, as in free_clear_pte().
void IoTable::release_below(unsigned level, DmaAddr iova, std::uint64_t bytes) {
  for (unsigned below = 1; below < level; ++below) {
    auto table = tables_.lower_bound({below, iova});
    while (table != tables_.end() && table->first.first == below && table->first.second - iova < bytes) {
      source_.release(table->second);
      table = tables_.erase(table);
    }
  }
}

// iommu_v1_unmap_pages()
std::optional<IoTable::Slot> IoTable::covering(DmaAddr iova) const {
  const auto slot = find(iova);
  if (!slot || (slot->level > 1 && !slot->entry.get<IoPte::Pr>())) return std::nullopt;
  return *slot;
}

std::uint64_t IoTable::unmap(DmaAddr iova, std::uint64_t bytes) {
  std::uint64_t unmapped = 0;
  while (unmapped < bytes) {
    const auto slot = covering(iova);
    if (!slot) break;
    const std::uint64_t leaf = leaf_bytes(*slot);
    if (!write(*slot, leaf, IoPte{})) break;
    unmapped += leaf;
    iova = aligned_down(iova, leaf) + leaf;
    if (iova == DmaAddr{0}) break;
  }
  return unmapped;
}

Result<void> IoTable::set_selector(DmaAddr iova, std::uint64_t bytes, mem::KeySelector selector) {
  for (std::uint64_t done = 0; done < bytes;) {
    const DmaAddr at = iova + done;
    const Slot slot = CBIT_TRY(find(at));
    if (!slot.entry.get<IoPte::Pr>()) return fault(FaultKind::iommu_not_present, at.value());
    const std::uint64_t leaf = leaf_bytes(slot);
    const std::uint64_t key_bits = format_.view.layout.join(PhysAddr{0}, selector).value();
    CBIT_TRY(write(slot, leaf, IoPte{{(slot.entry.raw & ~format_.view.layout.mask()) | key_bits}}));
    done += leaf - at.value() % leaf;
  }
  return {};
}

// fetch_pte()
Result<IoTable::Slot> IoTable::find(DmaAddr iova, unsigned lowest) const {
  unsigned level = dte().get<IoDte::Mode>();
  if (iova.value() > io_last_address(level)) return fault(FaultKind::iommu_not_present, iova.value());
  PhysAddr table = tables_.at({level, DmaAddr{0}});
  for (;;) {
    std::array<std::byte, sizeof(IoPte)> raw;
    const PhysAddr at = table + io_index(iova, level) * sizeof(IoPte);
    CBIT_TRY(memory_->read(at, raw, access()));
    const Slot slot{at, level, load<IoPte>(raw)};
    if (level <= lowest || !slot.entry.get<IoPte::Pr>() || slot.entry.is_leaf()) return slot;

    const auto below = tables_.find({level - 1, aligned_down(iova, io_span(level))});
    if (slot.entry.get<IoPte::NextLevel>() != level - 1 || below == tables_.end() ||
        below->second != format_.follow(slot.entry.target()).first)
      return fault(FaultKind::iommu_reserved_bit, iova.value());
    table = below->second;
    --level;
  }
}

std::uint64_t IoTable::leaf_bytes(const Slot& slot) const {
  if (!slot.entry.get<IoPte::Pr>() || !slot.entry.is_leaf()) return io_span(slot.level);
  return std::max(format_.leaf_bytes(slot.entry, slot.level), io_span(slot.level));
}

Result<void> IoTable::write(const Slot& slot, std::uint64_t bytes, IoPte entry) {
  std::array<std::uint64_t, io_entries_per_table> entries;
  const std::span used = std::span{entries}.first(bytes / io_span(slot.level));
  std::ranges::fill(used, entry.raw);
  const PhysAddr first{align_down(slot.at.value(), used.size_bytes())};
  return memory_->write(first, std::as_bytes(used), access());
}

}  // namespace cbit::iommu
