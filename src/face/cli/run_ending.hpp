// How a run ended: in words, and as the exit code of `cbit run`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cli/run_request.hpp"
#include "guest/run.hpp"

namespace cbit::cli {

// As virtme-ng has it. Below are the exit codes of the command in the guest.
inline constexpr auto guest_panicked = static_cast<ExitCode>(255);

struct RunEnding {
  ExitCode code = ExitCode::ok;
  std::string what;     // "the time is up"; empty: there is nothing to say
  std::string details;  // lines: registers and last exceptions of a machine that died
};

// `with_command`: the initramfs runs one, and tells its status.
[[nodiscard]] RunEnding ending_of(guest::Pc& pc, const guest::RunReport& report, bool with_command);

// What was wrong with the files that the run was given, and showed only while it ran: a module that the
// kernel refused, a disk that failed, the kernel of a machine that died.
[[nodiscard]] std::vector<Error> troubles_of(const RunRequest& request, const guest::RunReport& report);

// What `git bisect run` wants to hear of it (git-bisect(1), "Bisect run"): 0 for good, 1 for bad.
[[nodiscard]] ExitCode bisect_code(ExitCode code, const guest::KtapCounts& tests);
// The same of a run that did not start, whose files were no good, or whose results could not be written: this
// commit cannot be tested.
inline constexpr auto bisect_skip = static_cast<ExitCode>(125);

}  // namespace cbit::cli
