// Builds and edits x86-64 page tables in the machine's memory: the software side of paging.
//
// Tables are written under the key that the walker will read them with. Changing part of a large page splits
// it: the new table is complete before one 8-byte write puts it in the place of the large entry, so a walk at
// any moment finds the old or the new mapping. Nothing here flushes: the caller owns TLB and cache
// maintenance and is told what was split. Tables that become empty stay until the PageTable goes, which
// returns all its pages.
//
// Entries carry the bits that Linux gives them (arch/x86/include/asm/pgtable_types.h): Accessed everywhere,
// Dirty in tables and in supervisor leaves.
//
// Addresses and sizes are multiples of 4 KiB. Faults: non_canonical where a range leaves the address space,
// no_memory where a physical address does not fit an entry, reserved_bit where somebody overwrote a table
// (address = the entry's), or what Source::allocate and Memory return. Threading: one thread; walkers may run
// meanwhile.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "mem/memory.hpp"
#include "paging/pte.hpp"

namespace cbit::paging {

struct MapRequest {
  VirtAddr at;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  PageFlags flags;
  mem::KeySelector selector = 0;  // key bits of the leaves
  PageLevel largest =
      PageLevel::size_1g;  // larger pages are used where address, size and existing tables allow
  PageCaching caching = PageCaching::write_back;
};

struct EditResult {
  std::uint64_t leaves_changed = 0;
  std::uint64_t pages_split = 0;  // large pages replaced by a table
};

class PageTable {
 public:
  // Where table pages come from and go to; physical pages that the caller owns.
  struct Source {
    std::function<Result<PhysAddr>()> allocate;
    std::function<void(PhysAddr)> release;
  };

  // `table_selector` is the key bits of table pages and of the entries that point to them, CR3 included (1 on
  // SME, SEV and TDX once the kernel runs encrypted). Allocates the root.
  static Result<PageTable> create(mem::Memory& memory, const PagingConfig& config,
                                  mem::KeySelector table_selector, Source source, const mem::Access& who);
  PageTable(PageTable&&) = default;
  ~PageTable();

  [[nodiscard]] PtePhys cr3() const { return config_.view.layout.join(root_, table_selector_); }
  [[nodiscard]] const PagingConfig& config() const { return config_; }

  // Maps; existing leaves in the range are replaced.
  Result<EditResult> map(const MapRequest& request);
  Result<EditResult> unmap(VirtAddr at, std::uint64_t bytes);
  // Sets the key bits of every leaf in the range, splitting large pages at its ends. not_present where
  // nothing is mapped; earlier leaves stay changed, as in the kernel.
  Result<EditResult> set_selector(VirtAddr at, std::uint64_t bytes, mem::KeySelector selector);
  // The same for the caching of every leaf.
  Result<EditResult> set_caching(VirtAddr at, std::uint64_t bytes, PageCaching caching);
  // Only splits: afterwards no leaf crosses an end of the range.
  Result<EditResult> split(VirtAddr at, std::uint64_t bytes);

  // Calls back for each present leaf that overlaps the range, ascending, with the leaf's first address.
  Result<void> for_each_leaf(VirtAddr at, std::uint64_t bytes,
                             const std::function<void(VirtAddr, PageLevel, Pte)>& visit) const;

 private:
  // Where an entry lives, and the key of the table that holds it.
  struct Place {
    PhysAddr at;
    KeyId key = no_key;
  };
  // An entry that points to no table, and the part of its span that an edit covers.
  struct Slot {
    VirtAddr at;  // where the part begins
    unsigned level = 0;
    Pte entry;
    bool whole = false;  // the part is the whole span
  };
  struct Edit {
    // What becomes of a slot: an entry, or nullopt to go on in a table below it.
    std::function<Result<std::optional<Pte>>(const Slot&)> decide;
    bool user = false;  // the way down must be open to CPL 3
    EditResult done;
  };
  using Visit = std::function<void(VirtAddr, PageLevel, Pte)>;

  PageTable(mem::Memory& memory, const PagingConfig& config, mem::KeySelector table_selector, Source source,
            const mem::Access& who);

  Result<EditResult> apply(VirtAddr at, std::uint64_t bytes, Edit edit);
  // Gives every leaf of the range these bits in the place of those of `mask`.
  Result<EditResult> replace_bits(VirtAddr at, std::uint64_t bytes, std::uint64_t mask, std::uint64_t bits);
  Result<void> edit_table(PtePhys pointer, unsigned level, VirtAddr at, std::uint64_t bytes, Edit& edit);
  // Leads to the table below the entry, which there is afterwards.
  Result<PtePhys> descend(const Place& place, const Slot& slot, Edit& edit);
  Result<void> visit_table(PtePhys pointer, unsigned level, VirtAddr at, std::uint64_t bytes,
                           const Visit& visit) const;

  // A new table with these entries.
  Result<PhysAddr> add_table(ConstByteSpan entries);
  [[nodiscard]] Pte leaf_for(const MapRequest& request, const Slot& slot) const;
  [[nodiscard]] Place place_of(PtePhys table, VirtAddr at, unsigned level) const;
  [[nodiscard]] Result<void> check_range(VirtAddr at, std::uint64_t bytes) const;
  [[nodiscard]] Result<void> check_phys(PhysAddr at, std::uint64_t bytes) const;

  Result<Pte> load_entry(const Place& place, unsigned level) const;
  Result<void> store_entry(const Place& place, Pte entry);

  mem::Memory* memory_;
  PagingConfig config_;
  mem::KeySelector table_selector_;
  Source source_;
  mem::Access who_;
  PhysAddr root_;
  std::vector<PhysAddr> tables_;  // all pages taken from source_
};

}  // namespace cbit::paging
