// What a kernel's log tells of DMA that failed, with the causes of the catalogue.
//
// The log has a request's numbers, and the explainer's own functions (watch/swiotlb_full.hpp,
// watch/beyond_mask.hpp) judge them; nothing is decided here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "facts/kernel_log.hpp"
#include "watch/causes.hpp"
#include "watch/facts.hpp"

namespace cbit::facts {

// Messages about one device that have the same causes.
struct LogCause {
  std::string driver;
  std::string device;
  // The most specific first. Empty: the kernel said too little to tell (before Linux 5.1).
  std::vector<const watch::CauseInfo*> causes;
  std::uint64_t count = 0;
  std::uint64_t largest_bytes = 0;
  LogLine first;       // the kernel's words
  std::string remedy;  // for the largest request
  std::vector<watch::Evidence> evidence;
};

// "swiotlb buffer is full". `can_grow`: the kernel has CONFIG_SWIOTLB_DYNAMIC's code; `grows`: it is on.
[[nodiscard]] std::vector<LogCause> causes_of_full_pool(const KernelLog& log, bool can_grow, bool grows);
// "DMA addr ... overflow", "swiotlb addr ... overflow".
[[nodiscard]] std::vector<LogCause> causes_of_overflows(const KernelLog& log,
                                                        const watch::ExplainerContext& platform);

}  // namespace cbit::facts
