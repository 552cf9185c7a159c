// Neighbouring pages that look alike, as one run with one verdict.
//
// Ciphertext and compressed pages form runs together, because one page often cannot tell them apart and many
// can: compressed data that is uniform in each page is not in the sum (PooledUniformity). A run is compressed
// when 7 of 8 pages are, or the sum over the others refuses; ciphertext when no more pages are compressed
// than false alarms explain; and mixed otherwise.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "process/survey.hpp"

namespace cbit::process {

struct PageRun {
  VirtAddr at;
  std::uint64_t pages = 0;
  // As to_string(PageLooks) says, or "mixed" for a run that holds ciphertext and compressed pages.
  std::string_view looks;
  LookCounts counts;  // page by page
  double entropy_min = 0;
  double entropy_max = 0;
  std::string_view why;  // the reason of the first page that has one
};

class RunMerger {
 public:
  explicit RunMerger(std::function<void(const PageRun&)> sink) : sink_{std::move(sink)} {}

  // In ascending order; a gap begins a new run.
  void add(const PagesSeen& seen);
  // Ends the last run.
  void finish();

 private:
  [[nodiscard]] bool continues(const PagesSeen& seen) const;
  [[nodiscard]] std::string_view verdict() const;

  std::function<void(const PageRun&)> sink_;
  std::optional<PageRun> run_;
  watch::PageLooks first_ = watch::PageLooks::zeros;
  watch::PooledUniformity accepted_;  // of the ciphertext pages
};

}  // namespace cbit::process
