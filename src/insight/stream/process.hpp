// Runs a program of the host and waits for it.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"

namespace cbit::stream {

// Output and error streams are thrown away. `environment` is added to the caller's ("NAME=value"). Errors:
// the program cannot be started (`package` is named as the remedy), or it ends with another status than 0.
OrError<void> run_program(const std::vector<std::string>& words, const std::vector<std::string>& environment,
                          std::string_view package);

}  // namespace cbit::stream
