// A translation lookaside buffer: direct-mapped, one array per page size, so that a large page takes one
// entry.
//
// It keeps what it was given until it is flushed, whatever happens to the tables meanwhile, as hardware does.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "paging/walker.hpp"

namespace cbit::paging {

class Tlb {
 public:
  Tlb();

  // nullptr on a miss. The entry is for the page; the caller checks rights against its intent. Valid until
  // the next insert or flush.
  [[nodiscard]] const Translation* find(VirtAddr at) const {
    for (unsigned level = 0; level < arrays_.size(); ++level) {
      const std::uint64_t number = span_number(at, level);
      const Entry& entry = arrays_[level][number & (entries_[level] - 1)];
      if (entry.tag == number) return &entry.translation;
    }
    return nullptr;
  }
  // `translation` is of `at`. Returns the entry as find() would.
  const Translation* insert(VirtAddr at, const Translation& translation);

  // INVLPG of each page of the range: entries of every size that overlap it, global ones included.
  void flush_range(VirtAddr at, std::uint64_t bytes);
  void flush_non_global();
  void flush_all();

 private:
  struct Entry {
    std::uint64_t tag = no_tag;  // span_number()
    Translation translation;     // `phys` is the page's first byte
  };
  // No page has this number: it has at most 52 bits.
  static constexpr std::uint64_t no_tag = ~std::uint64_t{0};
  static constexpr std::array<std::uint64_t, 3> entries_{512, 128, 64};  // powers of two

  std::array<std::vector<Entry>, 3> arrays_;
};

}  // namespace cbit::paging
