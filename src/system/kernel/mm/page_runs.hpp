// A set of page numbers, kept as maximal runs: what is free in a zone, or in a range of virtual addresses.
//
// Costs memory per run, not per page. Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace cbit::kernel {

class PageRuns {
 public:
  // Adds [first, first + pages); no page of it is in the set.
  void add(std::uint64_t first, std::uint64_t pages);
  // Takes out [first, first + pages); all of it is in the set.
  void remove(std::uint64_t first, std::uint64_t pages);
  // Takes out the lowest run of this length that ends at or below `end` and starts at a multiple of `align`.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t pages, std::uint64_t end,
                                                  std::uint64_t align = 1);

  [[nodiscard]] bool contains(std::uint64_t first, std::uint64_t pages) const;
  [[nodiscard]] bool overlaps(std::uint64_t first, std::uint64_t pages) const;
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  using Runs = std::map<std::uint64_t, std::uint64_t>;  // first -> end

  // The run that begins last at or before `page`; end() when there is none.
  [[nodiscard]] Runs::const_iterator run_at(std::uint64_t page) const;

  Runs runs_;
  std::uint64_t size_ = 0;
};

}  // namespace cbit::kernel
