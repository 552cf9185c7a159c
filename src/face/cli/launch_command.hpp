// cbit launch
#pragma once

#include "cli/command.hpp"

namespace cbit {

extern const CommandSpec launch_command;

}  // namespace cbit
