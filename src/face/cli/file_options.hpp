// What is checked of the files that a command line names, before the command does anything: that outputs can
// be written, that no two of them are the same, and that none is what the command reads.
#pragma once

#include "cli/arguments.hpp"
#include "cli/command.hpp"

namespace cbit::cli {

// Errors: two options name one file, an output is an input too, or standard output is asked for twice
// (usage); an output cannot be written (output_failed).
[[nodiscard]] OrError<void> check_files(const CommandSpec& command, const Arguments& arguments,
                                        const Streams& streams);

// An option sends its file to standard output. Then what the command says goes to standard error.
[[nodiscard]] bool sends_file_to_output(const CommandSpec& command, const Arguments& arguments);

}  // namespace cbit::cli
