// cbit record
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec record_command;

}  // namespace cbit::cli
