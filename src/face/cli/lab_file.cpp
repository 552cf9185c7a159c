#include "cli/lab_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace cbit::cli {
namespace {

constexpr std::size_t file_bytes_max = 4u << 20;

OrError<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file{path, std::ios::binary};
  std::string text(file_bytes_max + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return bad_input(fmt::format("cannot read {}: {}", path, std::strerror(errno)),
                     "give a file, or a name that cbit lab list prints");
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > file_bytes_max)
    return bad_input(fmt::format("{} has more than {} bytes", path, file_bytes_max), "this is no lab file");
  return text;
}

}  // namespace

const lab::BuiltinExperiment* find_builtin(std::string_view name) {
  const auto all = lab::builtin_experiments();
  const auto found = std::ranges::find(all, name, &lab::BuiltinExperiment::name);
  return found == all.end() ? nullptr : &*found;
}

OrError<lab::Experiment> load_lab_file(const std::string& name) {
  const lab::BuiltinExperiment* const builtin = find_builtin(name);
  const std::string text = builtin != nullptr ? std::string{builtin->text} : CBIT_TRY(read_file(name));
  return lab::load_experiment(text, name);
}

}  // namespace cbit::cli
