// cbit launch
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec launch_command;

}  // namespace cbit::cli
