// A plan in the languages of those who start guests.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "launch/plan.hpp"

namespace cbit::launch {

// A shell command, one option a line.
[[nodiscard]] std::string to_shell(const LaunchPlan& plan);
// Every option with its reason and the reason's source.
[[nodiscard]] std::string to_explanation(const LaunchPlan& plan);
// The object of schema/launch.schema.json.
[[nodiscard]] std::string to_json(const LaunchPlan& plan, const std::vector<Finding>& findings);
// A domain for `virsh define`; with `explain`, reasons as comments. Errors (usage): what libvirt has no word
// for.
[[nodiscard]] OrError<std::string> to_libvirt(const LaunchPlan& plan, bool explain);
// A configuration.toml of Kata Containers' runtime. Errors (usage): what Kata decides itself.
[[nodiscard]] OrError<std::string> to_kata(const LaunchPlan& plan, bool explain);

}  // namespace cbit::launch
