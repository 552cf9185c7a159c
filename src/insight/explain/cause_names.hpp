// What stands beside a row of a table where something fails: names that `cbit causes NAME` explains.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "watch/causes.hpp"

namespace cbit::explain {

// Each name once, in order of first appearance.
class CauseNames {
 public:
  void add(const std::vector<watch::Cause>& causes) {
    for (const watch::Cause& cause : causes)
      if (std::ranges::find(names_, cause.info->name) == names_.end()) names_.push_back(cause.info->name);
  }
  [[nodiscard]] const std::vector<std::string_view>& all() const { return names_; }
  // "a, b"; empty: nothing failed.
  [[nodiscard]] std::string text() const { return fmt::format("{}", fmt::join(names_, ", ")); }

 private:
  std::vector<std::string_view> names_;
};

}  // namespace cbit::explain
