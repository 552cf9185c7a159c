// A translation lookaside buffer: direct-mapped, one array per page size, so that a large page takes one entry.
#pragma once

#include <cstdint>
#include <vector>

#include "paging/walker.hpp"

namespace cbit {

class Tlb {
 public:
  Tlb();

  // nullptr on a miss. The entry is for the page; the caller checks rights against `intent`.
  [[nodiscard]] const Translation* find(VirtAddr at) const;
  void insert(VirtAddr at, const Translation& translation);

  void flush_range(VirtAddr at, std::uint64_t bytes);
  void flush_all();

 private:
  struct Entry {
    std::uint64_t tag = no_tag;  // virtual page number of the entry's size
    Translation translation;     // `phys` is the page's first byte
  };
  static constexpr std::uint64_t no_tag = ~std::uint64_t{0};

  std::vector<Entry> entries_4k_, entries_2m_, entries_1g_;
};

}  // namespace cbit
