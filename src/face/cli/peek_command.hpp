// cbit peek
#pragma once

#include "cli/command.hpp"

namespace cbit {

extern const CommandSpec peek_command;

}  // namespace cbit
