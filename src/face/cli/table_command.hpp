// `cbit table`.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec table_command;

}  // namespace cbit::cli
