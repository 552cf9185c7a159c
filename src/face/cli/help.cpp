#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "cli/pages.hpp"
#include "layout/text.hpp"

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

// Help is read, not parsed: its table has lines of 100 columns also where no terminal sets a limit.
class Page {
 public:
  explicit Page(const Streams& streams) : out_{streams.out}, columns_{streams.columns} {}

  // Continuation lines are indented to the column, or a little where that leaves no room.
  void row(std::string_view left, std::string_view right, std::size_t column) {
    constexpr std::size_t table_width = 100, text_width_min = 20, narrow_column = 6;
    const std::size_t width = std::min(columns_.value_or(table_width), table_width);
    if (column + text_width_min > width) column = narrow_column;
    out_ << "  " << left;
    if (left.size() + 2 < column)
      out_ << std::string(column - left.size() - 2, ' ');
    else
      out_ << '\n' << std::string(column, ' ');
    print(layout::wrap(right, std::max(width, column) - column), column);
  }
  void paragraph(std::string_view text) { print(layout::wrap(text, columns_.value_or(text.size())), 0); }

 private:
  // The first line's indent is there.
  void print(const std::vector<std::string_view>& lines, std::size_t indent) {
    for (std::size_t i = 0; i < lines.size(); ++i)
      out_ << std::string(i == 0 ? 0 : indent, ' ') << lines[i] << '\n';
  }

  std::ostream& out_;
  std::optional<std::size_t> columns_;
};

}  // namespace

void print_help(Streams& streams) {
  Page page{streams};
  page.paragraph("cbit: a machine with memory encryption, in software");
  streams.out
      << "\n"
         "  cbit stream                                       the main demonstration\n"
         "  cbit explain --platform sev --map raw-phys        one DMA, and why it fails\n"
         "  cbit matrix                                       platforms x IOMMU x masks x mappings\n\n"
         "Commands:\n";
  for (const CommandSpec& command : commands()) page.row(command.name, command.summary, 16);
  streams.out << "\nOptions:\n";
  page.row("-h, --help", "this text; cbit COMMAND --help for a command's own", 16);
  page.row("--version", "the version", 16);
  streams.out << '\n';
  page.paragraph(
      "Exit codes: 0 ok, 1 a check failed, 64 usage, 65 bad input, 70 internal error, 71 no memory, "
      "74 output failed.");
}

void print_help(Streams& streams, const CommandSpec& command) {
  Page page{streams};
  page.paragraph(fmt::format("cbit {}: {}", command.name, command.summary));
  streams.out << '\n';
  for (const std::string_view example : command.examples) streams.out << "  " << example << '\n';
  streams.out << '\n';
  page.paragraph(fmt::format("Usage: cbit {}{}", command.name, usage_words(command)));
  streams.out << '\n';
  page.paragraph(command.description);
  constexpr std::size_t column = 30;
  const PositionalSpec& words = command.positional;
  if (!words.metavar.empty()) {
    streams.out << '\n';
    page.row(words.metavar, words.help, column);
    if (!command.behind.metavar.empty()) page.row(command.behind.metavar, command.behind.help, column);
  }
  streams.out << "\nOptions:\n";
  for (const OptionSpec& option : command.options)
    page.row(left_column(option), right_column(option), column);
  page.row("-h, --help", "this text", column);
}

std::string usage_words(const CommandSpec& command) {
  std::string text = command.options.empty() ? "" : " [OPTION]...";
  if (const PositionalSpec& words = command.positional; !words.metavar.empty()) {
    const std::string word = fmt::format("{}{}", words.metavar, words.repeated ? "..." : "");
    text += words.required ? " " + word : fmt::format(" [{}]", word);
  }
  if (!command.behind.metavar.empty()) text += fmt::format(" [-- {}...]", command.behind.metavar);
  return text;
}

}  // namespace cbit::cli
