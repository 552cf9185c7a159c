// `cbit table`.
#pragma once

#include "cli/command.hpp"

namespace cbit {

extern const CommandSpec table_command;

}  // namespace cbit
