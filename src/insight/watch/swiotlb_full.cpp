#include "watch/swiotlb_full.hpp"

#include <algorithm>

#include "watch/cause_table.hpp"

namespace cbit::watch {

bool can_never_fit(const SwiotlbFull& full) { return full.slots_wanted > full.segment_slots; }

std::vector<const CauseInfo*> why_full(const SwiotlbFull& full, bool can_grow) {
  if (full.endless_search) return {&cause("slot-search-never-ends")};
  if (can_never_fit(full)) return {&cause("request-over-segment-limit")};
  const std::uint64_t free = full.slots_total - std::min(full.slots_used, full.slots_total);
  std::vector<const CauseInfo*> found{free < full.slots_wanted ? &cause("pool-exhausted")
                                                               : &cause("no-aligned-run")};
  if (can_grow && !full.growth_possible) found.push_back(&cause("growth-off"));
  return found;
}

}  // namespace cbit::watch
