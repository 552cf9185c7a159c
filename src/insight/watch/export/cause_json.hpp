// Causes as every JSON document of cbit has them; schema/explain.schema.json describes the items.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "watch/causes.hpp"

namespace cbit::watch {

[[nodiscard]] nlohmann::ordered_json causes_json(const std::vector<Cause>& causes);

}  // namespace cbit::watch
