// The experiment that a word of the command line names: a file, or one that comes with cbit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lab/experiment.hpp"

namespace cbit::cli {

// Errors: a file that cannot be read, is too long, or is no experiment.
[[nodiscard]] OrError<lab::Experiment> load_lab_file(const std::string& name);

// nullptr: none of this name comes with cbit.
[[nodiscard]] const lab::BuiltinExperiment* find_builtin(std::string_view name);
[[nodiscard]] std::vector<std::string_view> builtin_names();

// The words, with a folder replaced by its files *.toml in order of name; without words, what comes with
// cbit.
// Errors: a folder without such files, or that cannot be read.
[[nodiscard]] OrError<std::vector<std::string>> experiments_of(const std::vector<std::string>& words);

}  // namespace cbit::cli
