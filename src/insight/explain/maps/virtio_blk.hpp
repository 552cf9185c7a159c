// `--map virtio-blk`: a driver binds to a virtio disk and sends it one request.
#pragma once

#include "explain/explain.hpp"

namespace cbit::explain {

// Errors (usage): options that contradict each other, or that a virtio driver decides itself.
[[nodiscard]] OrError<void> check_virtio(const ExplainOptions& options);
[[nodiscard]] testbed::TestbedConfig machine_of_virtio_disk(const ExplainOptions& options);
// As MapExperiment::perform.
[[nodiscard]] OrError<Explanation> explain_virtio_blk(const ExplainOptions& options, testbed::Testbed& bed,
                                                      watch::Explainer& explainer);

}  // namespace cbit::explain
