// `cbit cpu coverage`.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec cpu_coverage_command;

}  // namespace cbit::cli
