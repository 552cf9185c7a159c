// Builds and edits x86-64 page tables in the machine's memory: the software side of paging.
//
// Tables are written under the key that the walker will read them with. Changing the attribute of part of a
// large page splits it. Nothing here flushes: the caller owns TLB and cache maintenance and is told what it
// has to flush.
#pragma once

#include <functional>

#include "base/result.hpp"
#include "mem/memory.hpp"
#include "paging/pte.hpp"

namespace cbit {

struct MapRequest {
  VirtAddr at;
  PhysAddr phys;
  std::uint64_t bytes = 0;                   // multiple of 4 KiB
  PageFlags flags;
  KeySelector selector = 0;                  // key bits of the leaves
  PageLevel largest = PageLevel::size_1g;    // larger pages are used where address and size allow
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
  static Result<PageTable> create(Memory& memory, const PagingConfig& config, KeySelector table_selector,
                                  Source source, const Access& who);

  [[nodiscard]] PtePhys cr3() const;
  [[nodiscard]] const PagingConfig& config() const { return config_; }

  // Maps; existing leaves in the range are replaced.
  Result<EditResult> map(const MapRequest& request);
  Result<EditResult> unmap(VirtAddr at, std::uint64_t bytes);
  // Sets the key bits of every leaf in the range, splitting large pages at its ends. not_present where
  // nothing is mapped; earlier leaves stay changed, as in the kernel.
  Result<EditResult> set_selector(VirtAddr at, std::uint64_t bytes, KeySelector selector);

  // Calls back for each present leaf that overlaps the range.
  Result<void> for_each_leaf(VirtAddr at, std::uint64_t bytes,
                             const std::function<void(VirtAddr, PageLevel, Pte)>& visit) const;

 private:
  PageTable(Memory& memory, const PagingConfig& config, KeySelector table_selector, Source source, Access who);

  Memory* memory_;
  PagingConfig config_;
  KeySelector table_selector_;
  Source source_;
  Access who_;
  PhysAddr root_;
};

}  // namespace cbit
