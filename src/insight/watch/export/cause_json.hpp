// Causes as every JSON document of cbit has them; schema/explain.schema.json describes the items.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "watch/causes.hpp"
#include "watch/import/log_causes.hpp"

namespace cbit::watch {

[[nodiscard]] nlohmann::ordered_json causes_json(const std::vector<Cause>& causes);
// Rows of the catalogue: the object of schema/causes.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string catalogue_json(const CausesOfWords& found);

}  // namespace cbit::watch
