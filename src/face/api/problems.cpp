#include "api/problems.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::api {

std::vector<Sandbox::Problem> problems_of(std::span<const watch::Cause> causes) {
  std::vector<Sandbox::Problem> problems;
  for (const watch::Cause& cause : causes) {
    std::string evidence;
    for (const watch::Evidence& one : cause.evidence)
      evidence += fmt::format("{}: {}\n", one.label, one.text);
    problems.push_back({.name = std::string{cause.info->name},
                        .title = std::string{cause.info->title},
                        .device = cause.device,
                        .evidence = std::move(evidence),
                        .kernel_message = cause.kernel_message,
                        .remedy = std::string{cause.remedies.front().text}});
  }
  return problems;
}

bool has_cause(std::span<const watch::Cause> causes, std::string_view name) {
  return std::ranges::any_of(causes, [&](const watch::Cause& cause) { return cause.info->name == name; });
}

}  // namespace cbit::api
