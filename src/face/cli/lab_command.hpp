// `cbit lab run`, `cbit lab list`, `cbit lab show`: experiments from files, and the ones that come with the
// program.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec lab_run_command;
extern const CommandSpec lab_list_command;
extern const CommandSpec lab_show_command;

}  // namespace cbit::cli
