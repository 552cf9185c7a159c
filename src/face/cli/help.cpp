#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "cli/pages.hpp"

namespace cbit::cli {
namespace {

std::string left_column(const OptionSpec& option) {
  return option.metavar.empty() ? std::string{option.name}
                                : fmt::format("{} {}", option.name, option.metavar);
}

std::string right_column(const OptionSpec& option) {
  std::string text{option.help};
  if (!option.choices.empty()) text += fmt::format(": {}", fmt::join(option.choices, ", "));
  if (!option.fallback.empty()) text += fmt::format(" [{}]", option.fallback);
  return text;
}

// Breaks at blanks, so that no line goes over 100 columns; continuation lines are indented to the column.
void print_columns(std::ostream& out, std::string_view left, std::string_view right, std::size_t column) {
  constexpr std::size_t width = 100;
  out << "  " << left << std::string(column > left.size() + 2 ? column - left.size() - 2 : 1, ' ');
  while (right.size() > width - column) {
    std::size_t end = right.rfind(' ', width - column);
    if (end == std::string_view::npos) end = right.size();
    out << right.substr(0, end) << '\n' << std::string(column, ' ');
    right.remove_prefix(std::min(end + 1, right.size()));
  }
  out << right << '\n';
}

}  // namespace

void print_help(std::ostream& out) {
  out << "cbit: a machine with memory encryption, in software\n\n"
         "  cbit stream                                       the main demonstration\n"
         "  cbit explain --platform sev --map raw-phys        one DMA, and why it fails\n"
         "  cbit matrix                                       platforms x IOMMU x masks x mappings\n\n"
         "Commands:\n";
  for (const CommandSpec& command : commands()) print_columns(out, command.name, command.summary, 16);
  out << "\nOptions:\n";
  print_columns(out, "-h, --help", "this text; cbit COMMAND --help for a command's own", 16);
  print_columns(out, "--version", "the version", 16);
  out << "\nExit codes: 0 ok, 1 a check failed, 64 usage, 65 bad input, 70 internal error, 71 no memory, "
         "74 output failed.\n";
}

void print_help(std::ostream& out, const CommandSpec& command) {
  out << "cbit " << command.name << ": " << command.summary << "\n\n";
  for (const std::string_view example : command.examples) out << "  " << example << '\n';
  out << "\nUsage: cbit " << command.name;
  if (!command.options.empty()) out << " [OPTION]...";
  const PositionalSpec& words = command.positional;
  if (!words.metavar.empty())
    out << (words.required ? " " : " [") << words.metavar << (words.repeated ? "..." : "")
        << (words.required ? "" : "]");
  if (!command.behind.metavar.empty()) out << " [-- " << command.behind.metavar << "...]";
  out << "\n\n" << command.description << '\n';
  constexpr std::size_t column = 30;
  if (!words.metavar.empty()) {
    out << '\n';
    print_columns(out, words.metavar, words.help, column);
    if (!command.behind.metavar.empty())
      print_columns(out, command.behind.metavar, command.behind.help, column);
  }
  out << "\nOptions:\n";
  for (const OptionSpec& option : command.options)
    print_columns(out, left_column(option), right_column(option), column);
  print_columns(out, "-h, --help", "this text", column);
}

}  // namespace cbit::cli
