// What the pages of a process look like (watch/page_look.hpp), in order of their addresses.
//
// Memory is bounded: a chunk is read, judged and forgotten, however large the range is.
#pragma once

#include <array>
#include <functional>

#include "process/process_memory.hpp"
#include "watch/page_look.hpp"

namespace cbit::process {

// `pages` pages from `at` on, each of which looks like this. More than one only where nothing was read.
struct PagesSeen {
  VirtAddr at;
  std::uint64_t pages = 1;
  watch::PageLook look;
};

// How many pages look like what.
struct LookCounts {
  std::array<std::uint64_t, watch::page_looks_count> of{};

  void add(watch::PageLooks looks, std::uint64_t pages) { of[static_cast<std::size_t>(looks)] += pages; }
  void add(const LookCounts& more);
  [[nodiscard]] std::uint64_t operator[](watch::PageLooks looks) const {
    return of[static_cast<std::size_t>(looks)];
  }
  [[nodiscard]] std::uint64_t total() const;
};

struct SurveyOptions {
  bool fault_in = false;  // read absent pages too, which may allocate them
  bool devices = false;   // read mappings of devices too, which may have effects on them
};

// Surveys one segment, whole pages. Pages that no mapping covers are unreadable, "not mapped". False: the
// process went away before the end; the pages that were not reached are not reported.
[[nodiscard]] bool survey(const ProcessMemory& process, const Segment& segment, const SurveyOptions& options,
                          const std::function<void(const PagesSeen&)>& sink);

// The mappings that are looked at when nobody says which: those that are readable and writable, and neither a
// device's nor the kernel's.
[[nodiscard]] std::vector<Segment> default_segments(std::span<const Mapping> mappings);

}  // namespace cbit::process
