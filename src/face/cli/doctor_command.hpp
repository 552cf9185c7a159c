// cbit doctor
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec doctor_command;

}  // namespace cbit::cli
