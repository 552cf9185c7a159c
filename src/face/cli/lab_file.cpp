#include "cli/lab_file.hpp"

#include <algorithm>

#include "os/input_file.hpp"

namespace cbit::cli {
namespace {

constexpr os::InputKind lab_file_kind{
    .what = "a lab file", .remedy = "give a file, or a name that cbit lab list prints", .streams = true};

}  // namespace

const lab::BuiltinExperiment* find_builtin(std::string_view name) {
  const auto all = lab::builtin_experiments();
  const auto found = std::ranges::find(all, name, &lab::BuiltinExperiment::name);
  return found == all.end() ? nullptr : &*found;
}

OrError<lab::Experiment> load_lab_file(const std::string& name) {
  const lab::BuiltinExperiment* const builtin = find_builtin(name);
  const std::string text =
      builtin != nullptr ? std::string{builtin->text} : CBIT_TRY(os::read_input(name, lab_file_kind));
  return lab::load_experiment(text, name);
}

}  // namespace cbit::cli
