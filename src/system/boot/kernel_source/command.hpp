// Running a program for its answer.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cbit::boot {

struct CommandResult {
  int status = 0;  // as a shell has it: 128 + n after signal n
  std::string output;
  std::string errors;
};

// Starts the program in a folder, in the locale C, without input, and waits for its end; at most 16 MiB of
// each stream are kept. Errors (input): it cannot be started (`missing` tells that there is no such program),
// or has not ended in time and was killed.
struct CommandFailure {
  bool missing = false;
  std::string why;
};
Result<CommandResult, CommandFailure> run_command(const std::vector<std::string>& words,
                                                  const std::filesystem::path& folder,
                                                  std::chrono::milliseconds timeout);

}  // namespace cbit::boot
