// `cbit matrix`: every combination, run.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec matrix_command;

}  // namespace cbit::cli
