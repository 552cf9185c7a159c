// cbit launch --check: somebody's configuration of a guest, judged.
#pragma once

#include "cli/arguments.hpp"
#include "cli/command.hpp"

namespace cbit::cli {

// ExitCode::check_failed where a finding is an error.
[[nodiscard]] OrError<ExitCode> check_launch(const Arguments& arguments, Streams& streams);

}  // namespace cbit::cli
