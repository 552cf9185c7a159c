// `cbit man` and `cbit completion`: what packages install.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec man_command;
extern const CommandSpec completion_command;

}  // namespace cbit::cli
