// cbit peek
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec peek_command;

}  // namespace cbit::cli
