// Findings about a guest's configuration, for people and for machines.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "launch/check.hpp"

namespace cbit::launch {

[[nodiscard]] std::string to_text(const CheckReport& report);
// schema/launch-check.schema.json.
[[nodiscard]] std::string to_json(const CheckReport& report);
[[nodiscard]] nlohmann::ordered_json finding_json(const Finding& finding, GuestLanguage language);

[[nodiscard]] bool is_error(const Finding& finding);

}  // namespace cbit::launch
