// --format and --json of the commands that print tables.
#pragma once

#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "explain/table.hpp"

namespace cbit::cli {

inline constexpr std::string_view table_format_choices[] = {"text", "markdown", "json"};
inline constexpr OptionSpec table_format_option{"--format", "F", "How to print the table", "text",
                                                table_format_choices};
inline constexpr OptionSpec table_json_option{"--json", "", "The same as --format json", ""};

// Error (usage): the two contradict each other.
[[nodiscard]] OrError<explain::TableFormat> table_format(const Arguments& arguments);

}  // namespace cbit::cli
