// Causes as the library's users get them.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "cbit/sandbox.hpp"
#include "watch/causes.hpp"

namespace cbit::api {

[[nodiscard]] std::vector<Sandbox::Problem> problems_of(std::span<const watch::Cause> causes);
[[nodiscard]] bool has_cause(std::span<const watch::Cause> causes, std::string_view name);

}  // namespace cbit::api
