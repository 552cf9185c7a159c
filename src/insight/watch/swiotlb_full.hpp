// Why Linux says "swiotlb buffer is full": one message, and the causes that its numbers tell apart.
//
// The one home of that decision: the explainer asks with a request that it watched, `cbit doctor` with the
// numbers of a line in a kernel log.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/events/swiotlb.hpp"
#include "watch/causes.hpp"

namespace cbit::watch {

// The most specific first. `can_grow`: the kernel knows dynamic pools (Linux 6.6 and later), on or off.
[[nodiscard]] std::vector<const CauseInfo*> why_full(const SwiotlbFull& full, bool can_grow);
// A request that no pool can serve, however large and empty.
[[nodiscard]] bool can_never_fit(const SwiotlbFull& full);

}  // namespace cbit::watch
