// What a debugger stops a processor for. The guest's own debug registers are in core_run.cpp and
// core_memory.cpp.
#include <algorithm>

#include "cpu/core.hpp"

namespace cbit::cpu {

// Blocks are found by physical address: one that is decoded has to stop at each linear address that its code
// may be run at.
void Core::add_breakpoint(VirtAddr at) {
  breakpoints_.insert(at.value());
  if (breakpoint_places_.test(at.page_offset())) return;
  breakpoint_places_.set(at.page_offset());
  board.code.flush();
}

void Core::set_watches(std::vector<DataWatch> watches) {
  watches_ = std::move(watches);
  update_data_set();
}

bool Core::breaks_at(VirtAddr at) const { return !stepping_ && breakpoints_.contains(at.value()); }

const DataWatch* Core::watch_of(std::uint64_t linear_at, unsigned bytes, bool write) const {
  const auto found = std::ranges::find_if(watches_, [=](const DataWatch& watch) {
    const std::uint64_t first = watch.first.value();
    const bool overlaps = linear_at - first < watch.bytes || first - linear_at < bytes;  // modulo 2^64
    return overlaps && (write ? watch.writes : watch.reads);
  });
  return found == watches_.end() ? nullptr : &*found;
}

bool Core::note_watched_access(std::uint64_t linear_at, unsigned bytes, bool write) {
  const DataWatch* const watch = watch_of(linear_at, bytes, write);
  if (watch == nullptr) return true;
  if (!runs_alone()) {
    leave = Leave::retry;
    return false;
  }
  if (!debug_stop_) debug_stop_ = DebugStop{std::max(watch->first, VirtAddr{linear_at}), *watch};
  kick();
  return true;
}

}  // namespace cbit::cpu
