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
  LogLine first;  // the kernel's words
  std::vector<Evidence> evidence;
};

// What is known of the pool besides the log.
struct PoolState {
  bool can_grow = false;  // the kernel has CONFIG_SWIOTLB_DYNAMIC, and `grows` is known
  bool grows = false;     // and it is on
  std::optional<std::uint64_t> slots_used = {};  // now
};

// "swiotlb buffer is full". Where the numbers look like slots that were lost rather than used, slot-leak is
// the first cause, and its evidence says why.
[[nodiscard]] std::vector<LogCause> causes_of_full_pool(const KernelLog& log, const PoolState& pool);
// "DMA addr ... overflow", "swiotlb addr ... overflow".
[[nodiscard]] std::vector<LogCause> causes_of_overflows(const KernelLog& log,
                                                        const ExplainerContext& platform);
// "device must provide VIRTIO_F_...", "device refuses features".
[[nodiscard]] std::vector<LogCause> causes_of_virtio_refusals(const KernelLog& log);
// "Event logged [IO_PAGE_FAULT ...]", "[DMA Read] Request device [...]", RMP faults. The same device's faults
// of one kind are one entry.
[[nodiscard]] std::vector<LogCause> causes_of_iommu_faults(const KernelLog& log);
// ccp, PSP, RMP table, TDX module.
[[nodiscard]] std::vector<LogCause> causes_of_firmware_troubles(const KernelLog& log);
// Every other message with words of the catalogue: dma-debug's, the atomic pools', the #VC handler's.
[[nodiscard]] std::vector<LogCause> causes_of_other_words(const KernelLog& log);
// All of these. What the log does not say of the platform is in the context.
[[nodiscard]] std::vector<LogCause> causes_of_log(const KernelLog& log, const ExplainerContext& platform,
                                                  const PoolState& pool);

// Causes for the words of a message, as they were pasted or remembered: with stamp, device and numbers, or a
// part of them; best first. `decided`: so many at the front the message's own numbers and words decide.
struct CausesOfWords {
  std::vector<const CauseInfo*> causes;
  std::size_t decided = 0;
};
[[nodiscard]] CausesOfWords causes_of_words(std::string_view words);

}  // namespace cbit::watch
