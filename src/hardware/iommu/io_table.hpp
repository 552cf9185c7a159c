// The driver's side of an I/O page table: what iommu_v1_map_pages() and iommu_v1_unmap_pages() do
// (drivers/iommu/amd/io_pgtable.c). Internal to the room.
//
// It knows which table it put where and follows an entry only to that table, so memory that somebody else
// wrote over can lead it neither astray nor in circles.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <utility>

#include "iommu/io_format.hpp"
#include "iommu/iommu.hpp"

namespace cbit::iommu {

class IoTable {
 public:
  IoTable(const IoFormat& format, mem::Memory& memory, IommuPageSource source, const mem::Access& writer)
      : format_{format}, memory_{&memory}, source_{std::move(source)}, writer_{writer} {}
  ~IoTable();
  IoTable(const IoTable&) = delete;
  IoTable& operator=(const IoTable&) = delete;

  // Allocates the root of a table of this mode, 1 to 6.
  Result<void> create(unsigned mode);

  // What the device table entry says of this table. May be called from any thread.
  [[nodiscard]] IoDte dte() const { return IoDte{{dte_.load(std::memory_order_acquire)}}; }

  // Maps with the largest leaves that address and size allow, all or nothing. `flags` are a leaf's bits
  // besides address, size and Next Level. The caller has checked the arguments.
  Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IoPte flags, mem::KeySelector selector);
  std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes);
  // Whether unmap() goes on here.
  [[nodiscard]] bool covers(DmaAddr iova) const { return covering(iova).has_value(); }
  Result<void> set_selector(DmaAddr iova, std::uint64_t bytes, mem::KeySelector selector);

 private:
  struct Slot {
    PhysAddr at;  // of the entry
    unsigned level = 0;
    IoPte entry;
  };
  using Place = std::pair<unsigned, DmaAddr>;  // a table's level and the first address that it translates

  // The entry at which unmap() goes on; nullopt: it stops.
  [[nodiscard]] std::optional<Slot> covering(DmaAddr iova) const;
  Result<PhysAddr> new_table();
  // Adds levels on top until the table translates `last` and has entries of this level.
  Result<void> grow(DmaAddr last, unsigned level);
  Result<void> check_unmapped(DmaAddr iova, std::uint64_t bytes) const;
  Result<void> place(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IoPte flags,
                     mem::KeySelector selector);
  void release_below(unsigned level, DmaAddr iova, std::uint64_t bytes);

  // The entry that decides about `iova`: a leaf, one that is not present, or the one at level `lowest`.
  [[nodiscard]] Result<Slot> find(DmaAddr iova, unsigned lowest = 1) const;
  // Bytes that the slot's leaf maps; a malformed one counts for its own entry.
  [[nodiscard]] std::uint64_t leaf_bytes(const Slot& slot) const;
  // Writes the entry to the slot and to its repetitions, which make up `bytes`.
  Result<void> write(const Slot& slot, std::uint64_t bytes, IoPte entry);

  [[nodiscard]] mem::Access access() const { return {writer_.agent, format_.table_key, writer_.site}; }

  IoFormat format_;
  mem::Memory* memory_;
  IommuPageSource source_;
  mem::Access writer_;
  std::atomic<std::uint64_t> dte_ = 0;
  std::map<Place, PhysAddr> tables_;
};

}  // namespace cbit::iommu
