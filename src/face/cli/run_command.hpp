// `cbit run`: the user's own Linux kernel on the machine's processor.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec run_command;

}  // namespace cbit::cli
