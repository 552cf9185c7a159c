// What a kernel's log tells of DMA that failed, with the causes of the catalogue.
//
// The log has a request's numbers, and the explainer's own functions (watch/swiotlb_full.hpp,
// watch/detect/beyond_mask.hpp) judge them. Where the log names what the explainer would have to find out, a
// flag that is missing, that is all there is to decide.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "watch/causes.hpp"
#include "watch/facts.hpp"
#include "watch/import/kernel_log.hpp"

namespace cbit::watch {

// Messages about one device that have the same causes.
struct LogCause {
  std::string driver;
  std::string device;
  // The most specific first. Empty: the kernel said too little to tell (before Linux 5.1).
  std::vector<const CauseInfo*> causes;
  std::uint64_t count = 0;
  std::uint64_t largest_bytes = 0;
  LogLine first;       // the kernel's words
  std::string remedy;  // for the largest request
  std::vector<Evidence> evidence;
};

// "swiotlb buffer is full". `can_grow`: the kernel has CONFIG_SWIOTLB_DYNAMIC's code; `grows`: it is on.
[[nodiscard]] std::vector<LogCause> causes_of_full_pool(const KernelLog& log, bool can_grow, bool grows);
// "DMA addr ... overflow", "swiotlb addr ... overflow".
[[nodiscard]] std::vector<LogCause> causes_of_overflows(const KernelLog& log,
                                                        const ExplainerContext& platform);
// "device must provide VIRTIO_F_...", "device refuses features".
[[nodiscard]] std::vector<LogCause> causes_of_virtio_refusals(const KernelLog& log);

}  // namespace cbit::watch
