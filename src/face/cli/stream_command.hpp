// `cbit stream`: the streaming demonstration.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec stream_command;

}  // namespace cbit::cli
