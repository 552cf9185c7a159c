// The experiment that a word of the command line names: a file, or one that comes with cbit.
#pragma once

#include <string>

#include "lab/experiment.hpp"

namespace cbit::cli {

// Errors: a file that cannot be read, is too long, or is no experiment.
[[nodiscard]] OrError<lab::Experiment> load_lab_file(const std::string& name);

// nullptr: none of this name comes with cbit.
[[nodiscard]] const lab::BuiltinExperiment* find_builtin(std::string_view name);

}  // namespace cbit::cli
