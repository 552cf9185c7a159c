// `cbit causes`: the catalogue of causes.
#pragma once

#include "cli/command.hpp"

namespace cbit {

extern const CommandSpec causes_command;

}  // namespace cbit
