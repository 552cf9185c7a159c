// `cbit causes`: the catalogue of causes.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec causes_command;

}  // namespace cbit::cli
