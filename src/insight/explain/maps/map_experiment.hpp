// How each kind of `--map` is tried out: one row each, of what checks, boots and performs it.
#pragma once

#include "explain/explain.hpp"

namespace cbit::explain {

struct MapExperiment {
  MapKind kind{};
  // Errors (usage): options that contradict the kind.
  OrError<void> (*check)(const ExplainOptions& options);
  testbed::TestbedConfig (*machine)(const ExplainOptions& options);
  // On that machine, where `explainer` is attached. The options have been checked.
  OrError<Explanation> (*perform)(const ExplainOptions& options, testbed::Testbed& bed,
                                  watch::Explainer& explainer);
};

[[nodiscard]] const MapExperiment& experiment_of(MapKind kind);

}  // namespace cbit::explain
