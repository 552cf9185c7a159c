// --trace FILE --trace-format F: the events of a run, written to a file that is complete or absent.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/trace.hpp"
#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "cli/output_file.hpp"

namespace cbit {

inline constexpr std::string_view trace_format_choices[] = {"chrome", "jsonl", "ftrace"};
inline constexpr OptionSpec trace_option{"--trace", "FILE", "Write the events of the run to FILE", ""};
inline constexpr OptionSpec trace_format_option{
    "--trace-format", "F", "Its format: Chrome trace JSON for Perfetto, one JSON object a line, or ftrace text", "chrome",
    trace_format_choices};

}  // namespace cbit
