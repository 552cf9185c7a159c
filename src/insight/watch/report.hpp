// An explanation as text for people: the path that the code took, and what went wrong.
#pragma once

#include <string>
#include <vector>

#include "base/events.hpp"
#include "watch/causes.hpp"

namespace cbit::watch {

struct ReportStyle {
  bool colour = false;  // ANSI escape sequences; the caller knows the terminal and NO_COLOR
};

// A numbered line per decision, with the kernel function that takes it.
[[nodiscard]] std::string render_steps(const std::vector<StepTaken>& steps, const ReportStyle& style = {});
// Each cause with its evidence, Linux's words, the remedy and the source.
[[nodiscard]] std::string render_causes(const std::vector<Cause>& causes, const ReportStyle& style = {});
// "P:0x1000, 2 pages" / "D:0x1000, 512 bytes"; empty where the cause is about no address.
[[nodiscard]] std::string render_range(const CauseRange& range);

}  // namespace cbit::watch
