// `cbit doctor --watch`: the bounce pool's usage over time, and who bounces where the kernel tells.
//
// It reads only: who bounces is known where somebody has switched the trace event swiotlb_bounced on, and who
// found the pool full from the kernel's log.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "facts/host_tree.hpp"

namespace cbit::doctor {

struct Bounces {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
};
// By dev_name.
using BouncesByDevice = std::map<std::string, Bounces, std::less<>>;

// The lines of tracefs' `trace` with the event swiotlb_bounced: "... swiotlb_bounced: dev_name: 0000:00:03.0
// dma_mask=ffffffff dev_addr=8000... size=4096 FORCE" (include/trace/events/swiotlb.h).
[[nodiscard]] BouncesByDevice parse_bounce_trace(std::string_view trace);

struct PoolSample {
  std::uint64_t slots = 0;
  std::uint64_t used = 0;
  std::uint64_t hiwater = 0;  // 0: this kernel does not keep it
  BouncesByDevice bounces;    // of all that the trace buffer holds; empty: the event is off, or not readable
  std::uint64_t full = 0;     // "swiotlb buffer is full" in the log so far
  std::string full_device;    // of the last one
};

// Errors (bad_input): the counters are not readable, with what to do about it.
[[nodiscard]] OrError<PoolSample> sample_pool(const facts::HostTree& tree);

inline constexpr std::string_view pool_watch_header =
    "  seconds     used    slots   %   change  at most  who\n";
// `seconds` since the first sample.
[[nodiscard]] std::string pool_watch_line(double seconds, const PoolSample& before, const PoolSample& now);

}  // namespace cbit::doctor
