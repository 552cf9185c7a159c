// `cbit run`: the streaming demonstration.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec run_command;

}  // namespace cbit::cli
