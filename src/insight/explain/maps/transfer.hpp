// One DMA through a mapping, from the owner's first write to the last look.
#pragma once

#include "explain/maps/map_strategy.hpp"

namespace cbit::explain {

// Errors (usage): options that the kinds of mapping do not take.
[[nodiscard]] OrError<void> check_transfer(const ExplainOptions& options);

// `explainer` is attached, and the options have been checked. Errors (usage): the machine has no room, or the
// device cannot be.
[[nodiscard]] OrError<Explanation> explain_transfer(const ExplainOptions& options, testbed::Testbed& bed,
                                                    watch::Explainer& explainer, MakeStrategy make);

}  // namespace cbit::explain
