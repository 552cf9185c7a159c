// Findings about a guest's configuration, for people and for machines.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "launch/rules.hpp"

namespace cbit::launch {

[[nodiscard]] std::string to_text(std::span<const Finding> findings, const GuestConfig& config);
// The object of schema/launch-check.schema.json.
[[nodiscard]] std::string to_json(std::span<const Finding> findings, const GuestConfig& config);
[[nodiscard]] nlohmann::ordered_json finding_json(const Finding& finding, GuestLanguage language);

[[nodiscard]] bool is_error(const Finding& finding);

}  // namespace cbit::launch
