#include <fmt/format.h>

#include "base/safe_text.hpp"
#include "launch/plan_render.hpp"
#include "launch/wrapped_text.hpp"

namespace cbit::launch {
namespace {

void append_reason(std::string& out, const Reason& reason, std::size_t indent) {
  append_wrapped(out, reason.why, indent);
  append_wrapped(out, fmt::format("[{}]", reason.source), indent);
}

}  // namespace

std::string to_shell(const LaunchPlan& plan) { return to_shell(command_of(plan), true) + '\n'; }

std::string to_explanation(const LaunchPlan& plan) {
  std::string out;
  for (const Candidate& candidate : plan.candidates)
    out +=
        fmt::format("{:<8} {}\n", to_string(candidate.protection),
                    candidate.usable ? std::string{"usable"} : "not usable: " + safe_line(candidate.why_not));
  out += fmt::format("plan: {}, QEMU {}.{}\n\n{}\n", to_string(plan.protection), plan.qemu.release,
                     plan.qemu.update, safe_line(plan.program));
  for (const PlannedOption& option : plan.options) {
    out += fmt::format("  {}\n", to_shell(to_words(option_of(option))));
    append_reason(out, option.reason, 6);
    for (const PlannedProperty& property : option.properties) {
      if (property.reason.why.empty()) continue;
      out += fmt::format("      {}={}\n", safe_line(property.key), safe_line(property.value));
      append_reason(out, property.reason, 10);
    }
  }
  return out;
}

}  // namespace cbit::launch
