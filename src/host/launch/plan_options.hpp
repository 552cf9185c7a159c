// A plan's decisions as QEMU's options, each with its reason.
#pragma once

#include <vector>

#include "launch/plan.hpp"

namespace cbit::launch {

// Everything in the plan but `options` must have been decided.
[[nodiscard]] std::vector<PlannedOption> plan_options(const LaunchPlan& plan);

}  // namespace cbit::launch
