// `cbit explain`: from words to ExplainOptions, from an Explanation to text or JSON.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec explain_command;

}  // namespace cbit::cli
