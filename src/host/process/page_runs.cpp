#include "process/page_runs.hpp"

#include <algorithm>
#include <cmath>

namespace cbit::process {
namespace {

bool is_dense(watch::PageLooks looks) {
  return looks == watch::PageLooks::ciphertext || looks == watch::PageLooks::compressed;
}

// Whether so many of `pages` ciphertext pages may be taken for compressed by accident: Poisson, at 1e-3.
bool is_accident(std::uint64_t compressed, std::uint64_t pages) {
  constexpr double false_alarm = 1.2e-6;  // watch/page_look.hpp
  const double expected = false_alarm * static_cast<double>(pages);
  double term = std::exp(-expected);
  double at_most = 0;
  for (std::uint64_t k = 0; k < compressed && 1 - at_most > 1e-3; ++k) {
    at_most += term;
    term *= expected / static_cast<double>(k + 1);
  }
  return 1 - at_most > 1e-3;
}

}  // namespace

bool RunMerger::continues(const PagesSeen& seen) const {
  if (!run_ || run_->at + run_->pages * page_size != seen.at) return false;
  if (is_dense(first_) && is_dense(seen.look.looks)) return true;
  return first_ == seen.look.looks && (first_ != watch::PageLooks::unreadable || run_->why == seen.look.why);
}

void RunMerger::add(const PagesSeen& seen) {
  if (!continues(seen)) {
    finish();
    run_ = PageRun{.at = seen.at, .entropy_min = seen.look.entropy, .entropy_max = seen.look.entropy};
    first_ = seen.look.looks;
    accepted_ = {};
  }
  run_->pages += seen.pages;
  run_->counts.add(seen.look.looks, seen.pages);
  run_->entropy_min = std::min(run_->entropy_min, seen.look.entropy);
  run_->entropy_max = std::max(run_->entropy_max, seen.look.entropy);
  if (run_->why.empty()) run_->why = seen.look.why;
  if (seen.look.looks == watch::PageLooks::ciphertext) accepted_.add(seen.look.uniformity);
}

std::string_view RunMerger::verdict() const {
  if (!is_dense(first_)) return to_string(first_);
  const std::uint64_t compressed = run_->counts[watch::PageLooks::compressed];
  if (accepted_.refused() || 8 * compressed >= 7 * run_->pages)
    return to_string(watch::PageLooks::compressed);
  return is_accident(compressed, run_->pages) ? to_string(watch::PageLooks::ciphertext) : "mixed";
}

void RunMerger::finish() {
  if (!run_) return;
  run_->looks = verdict();
  if (run_->looks == to_string(watch::PageLooks::compressed) && run_->why.empty())
    run_->why = "over the whole run";
  sink_(*run_);
  run_.reset();
}

}  // namespace cbit::process
