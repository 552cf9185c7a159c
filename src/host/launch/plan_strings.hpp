// The strings of a plan that come from the user, for languages that cannot hold every byte.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "launch/plan.hpp"

namespace cbit::launch {

// Files of the host: what each is ("the kernel"), and its path.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string>> paths_of(const LaunchPlan& plan);

// Errors (usage): a string is no UTF-8 or has control characters; `language` is named.
[[nodiscard]] OrError<void> check_text(const LaunchPlan& plan, std::string_view language);

// "a" ... "z", "aa", ...: how Linux and libvirt count disks.
[[nodiscard]] std::string letters(std::size_t index);

}  // namespace cbit::launch
