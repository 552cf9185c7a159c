// `cbit peek --pid`: what the pages of a running process look like to the host.
#pragma once

#include "cli/arguments.hpp"
#include "cli/command.hpp"

namespace cbit::cli {

// The options of `cbit peek` that belong to this form, --pid apart.
inline constexpr std::string_view peek_process_options[] = {"--range",    "--ranges",  "--runs", "--dump",
                                                            "--fault-in", "--devices", "--map"};

// Errors (usage, bad_input, output_failed). When the process goes away while it is read, the report of what
// was read comes first and then the error.
OrError<ExitCode> peek_process(const Arguments& arguments, Streams& streams);

}  // namespace cbit::cli
