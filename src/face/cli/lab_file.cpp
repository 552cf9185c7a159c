#include "cli/lab_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/text.hpp"
#include "os/input_file.hpp"

namespace cbit::cli {
namespace {

namespace fs = std::filesystem;

constexpr os::InputKind lab_file_kind{
    .what = "a lab file", .remedy = "give a file, or a name that cbit lab list prints", .streams = true};

OrError<std::vector<std::string>> files_in(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::directory_iterator entry{folder, error}, end;
  for (; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".toml") files.push_back(entry->path().string());
  if (error)
    return bad_input(fmt::format("cannot read the folder {}: {}", folder, error.message()),
                     "check its path and rights");
  if (files.empty())
    return bad_input(fmt::format("there is no experiment in the folder {}", folder),
                     "an experiment is a file whose name ends with .toml");
  std::ranges::sort(files);
  return files;
}

}  // namespace

const lab::BuiltinExperiment* find_builtin(std::string_view name) {
  const auto all = lab::builtin_experiments();
  const auto found = std::ranges::find(all, name, &lab::BuiltinExperiment::name);
  return found == all.end() ? nullptr : &*found;
}

std::vector<std::string_view> builtin_names() {
  std::vector<std::string_view> names;
  for (const lab::BuiltinExperiment& each : lab::builtin_experiments()) names.push_back(each.name);
  return names;
}

OrError<std::vector<std::string>> experiments_of(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  if (words.empty())
    for (const std::string_view name : builtin_names()) names.emplace_back(name);
  for (const std::string& word : words) {
    std::error_code unreadable;
    if (find_builtin(word) != nullptr || !fs::is_directory(word, unreadable)) {
      names.push_back(word);
      continue;
    }
    const auto files = CBIT_TRY(files_in(word));
    names.insert(names.end(), files.begin(), files.end());
  }
  return names;
}

OrError<lab::Experiment> load_lab_file(const std::string& name) {
  if (const lab::BuiltinExperiment* const builtin = find_builtin(name))
    return lab::load_experiment(builtin->text, name);
  auto text = os::read_input(name, lab_file_kind);
  if (!text) {
    Error error = text.error();
    error.hint = did_you_mean(name, builtin_names(), error.hint);
    return tl::unexpected{std::move(error)};
  }
  return lab::load_experiment(*text, name);
}

}  // namespace cbit::cli
