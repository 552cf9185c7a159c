#include "cli/file_options.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "os/file_name.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

struct NamedFile {
  std::string option;  // or what is positional
  std::string path;
  std::optional<os::FileId> id;
};

bool is_output(FileUse use) { return use == FileUse::output || use == FileUse::binary_output; }

// Up to each comma and whole: a file's name may have some of its own.
template <class Visit>
void for_each_name(std::string_view text, Visit visit) {
  for (std::size_t end = text.find(','); end != std::string_view::npos; end = text.find(',', end + 1))
    visit(std::string{text.substr(0, end)});
  visit(std::string{text});
}

template <class Visit>
void for_each_file(const CommandSpec& command, const Arguments& arguments, Visit visit) {
  for (const OptionSpec& option : command.options) {
    if (option.file == FileUse::none) continue;
    const auto take = [&](std::string_view path) {
      if (option.file == FileUse::input_with_options)
        for_each_name(path, [&](const std::string& name) { visit(FileUse::input, option.name, name); });
      else
        visit(option.file, option.name, std::string{path});
    };
    if (const auto path = arguments.text(option.name)) take(*path);
    for (const std::string& path : arguments.all(option.name)) take(path);
  }
  if (command.positional.files)
    for (const std::string& path : arguments.positional)
      visit(FileUse::input, command.positional.metavar, path);
}

OrError<void> check_standard_output(const NamedFile& file, FileUse use, const Arguments& arguments,
                                    const Streams& streams) {
  if (use == FileUse::binary_output && streams.out_is_terminal)
    return usage_error(fmt::format("{} would go to the terminal, and is no text", file.option),
                       "send standard output to a file or a pipe");
  if (arguments.has("--json"))
    return usage_error(fmt::format("{} and --json both go to standard output", file.option),
                       fmt::format("give {} a file", file.option));
  return {};
}

// Replacing the file would leave what goes to standard output in one that has no name.
bool is_where_output_goes(const NamedFile& file) {
  struct stat info{};
  if (!file.id || ::fstat(os::standard_output, &info) != 0 || !S_ISREG(info.st_mode)) return false;
  return *file.id == os::FileId{info.st_dev, info.st_ino, {}};
}

OrError<NamedFile> checked_output(std::string_view option, const std::string& path, FileUse use,
                                  const Arguments& arguments, const Streams& streams) {
  if (path.empty()) return usage_error(fmt::format("{} has no name", option), "name a file");
  NamedFile file{std::string{option}, path, {}};
  if (os::is_standard_output(path)) {
    CBIT_TRY(check_standard_output(file, use, arguments, streams));
    CBIT_TRY(os::check_output(path));
    file.id = os::FileId{0, 0, "standard output"};
    return file;
  }
  CBIT_TRY(os::check_output(path));
  file.id = os::id_of(CBIT_TRY(os::resolve_output(path)));
  if (is_where_output_goes(file))
    return usage_error(fmt::format("{} names the file that standard output goes to, {}", option, path),
                       "use another file, or - for standard output");
  return file;
}

}  // namespace

OrError<void> check_files(const CommandSpec& command, const Arguments& arguments, const Streams& streams) {
  std::vector<NamedFile> outputs, inputs;
  OrError<void> checked;
  for_each_file(command, arguments, [&](FileUse use, std::string_view option, const std::string& path) {
    if (!checked) return;
    if (!is_output(use)) {
      inputs.push_back({std::string{option}, path, os::id_of_input(path)});
      return;
    }
    auto file = checked_output(option, path, use, arguments, streams);
    if (file)
      outputs.push_back(*std::move(file));
    else
      checked = tl::unexpected{std::move(file).error()};
  });
  CBIT_TRY(std::move(checked));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const NamedFile& file = outputs[i];
    const auto same = [&](const NamedFile& other) { return file.id && other.id == file.id; };
    const auto first = std::find_if(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i), same);
    if (first != outputs.begin() + static_cast<std::ptrdiff_t>(i))
      return usage_error(
          fmt::format("{} and {} name the same file, {}", first->option, file.option, file.path),
          "give each its own");
    if (const auto read = std::ranges::find_if(inputs, same); read != inputs.end())
      return usage_error(
          fmt::format("{} would overwrite {}, which {} reads", file.option, file.path, read->option),
          "write to another file");
  }
  return {};
}

bool sends_file_to_output(const CommandSpec& command, const Arguments& arguments) {
  bool sends = false;
  for_each_file(command, arguments, [&](FileUse use, std::string_view, const std::string& path) {
    sends |= is_output(use) && os::is_standard_output(path);
  });
  return sends;
}

}  // namespace cbit::cli
