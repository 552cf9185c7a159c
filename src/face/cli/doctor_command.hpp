// cbit doctor
#pragma once

#include "cli/command.hpp"

namespace cbit {

extern const CommandSpec doctor_command;

}  // namespace cbit
