#include "cli/parse.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <vector>

namespace cbit::cli {
namespace {

// One command's CLI11 parser, with the places its values go to.
class CommandParser {
 public:
  explicit CommandParser(const CommandSpec& spec) : spec_{spec} {
    app_.set_help_flag("-h,--help");
    for (const OptionSpec& option : spec.options) {
      const std::string name{option.name};
      if (option.repeated) {
        CLI::Option* const added = app_.add_option(name, lists_[name]);
        added->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        continue;
      }
      CLI::Option* const added =
          option.metavar.empty() ? app_.add_flag_callback(name, [] {}) : app_.add_option(name, values_[name]);
      added->multi_option_policy(CLI::MultiOptionPolicy::Throw);
    }
    if (!spec.positional.metavar.empty()) {
      CLI::Option* const words = app_.add_option(std::string{spec.positional.metavar}, positional_);
      if (spec.positional.required) words->required();
      words->expected(spec.positional.required ? 1 : 0,
                      spec.positional.repeated ? CLI::detail::expected_max_vector_size : 1);
    }
  }

  OrError<ParsedCommand> parse(std::span<const std::string_view> words) {
    ParsedCommand parsed{.command = &spec_};
    if (!spec_.behind.metavar.empty()) {
      const auto mark = std::ranges::find(words, "--");
      if (mark != words.end()) parsed.arguments.behind.assign(mark + 1, words.end());
      words = {words.begin(), mark};
    }
    std::vector<std::string> reversed{words.rbegin(), words.rend()};  // what CLI11 wants
    try {
      app_.parse(std::move(reversed));
    } catch (const CLI::CallForHelp&) {
      parsed.help = true;
      return parsed;
    } catch (const CLI::ParseError& error) {
      return usage_error(first_line(error.what()), fmt::format("see cbit {} --help", spec_.name));
    }
    for (const OptionSpec& option : spec_.options)
      if (app_.count(std::string{option.name}) > 0)
        parsed.arguments.options[std::string{option.name}] = values_[std::string{option.name}];
    parsed.arguments.repeated = std::move(lists_);
    parsed.arguments.positional = positional_;
    CBIT_TRY(check_choices(parsed.arguments));
    return parsed;
  }

 private:
  static std::string first_line(std::string_view text) {
    return std::string{text.substr(0, text.find('\n'))};
  }

  OrError<void> check_choices(const Arguments& arguments) const {
    for (const OptionSpec& option : spec_.options) {
      const auto value = arguments.text(option.name);
      if (!value || option.choices.empty()) continue;
      if (std::ranges::find(option.choices, *value) == option.choices.end())
        return usage_error(fmt::format("{} does not know \"{}\"", option.name, *value),
                           fmt::format("use one of {}", fmt::join(option.choices, ", ")));
    }
    return {};
  }

  const CommandSpec& spec_;
  CLI::App app_;
  std::map<std::string, std::string> values_;
  std::map<std::string, std::vector<std::string>, std::less<>> lists_;
  std::vector<std::string> positional_;
};

// How many of the words name this command; 0: none.
std::size_t words_of_name(const CommandSpec& spec, std::span<const std::string_view> words) {
  const std::size_t blank = spec.name.find(' ');
  if (blank == std::string_view::npos) return spec.name == words[0] ? 1 : 0;
  const bool same =
      words.size() > 1 && spec.name.substr(0, blank) == words[0] && spec.name.substr(blank + 1) == words[1];
  return same ? 2 : 0;
}

bool is_group(std::string_view word) {
  return std::ranges::any_of(commands(), [&](const CommandSpec& spec) {
    return spec.name.starts_with(word) && spec.name.size() > word.size() && spec.name[word.size()] == ' ';
  });
}

}  // namespace

OrError<ParsedCommand> parse_command_line(std::span<const std::string_view> words) {
  if (words.empty()) return usage_error("a command is missing", "see cbit --help");
  if (words[0] == "--version") return ParsedCommand{.version = true};
  if (words[0] == "-h" || words[0] == "--help" || words[0] == "help") return ParsedCommand{.help = true};
  for (const CommandSpec& spec : commands())
    if (const std::size_t count = words_of_name(spec, words); count != 0)
      return CommandParser{spec}.parse(words.subspan(count));
  if (is_group(words[0])) {
    if (words.size() > 1 && (words[1] == "-h" || words[1] == "--help")) return ParsedCommand{.help = true};
    return usage_error(words.size() > 1 ? fmt::format("there is no command \"{} {}\"", words[0], words[1])
                                        : fmt::format("\"{}\" needs a second word", words[0]),
                       "see cbit --help");
  }
  return usage_error(fmt::format("there is no command \"{}\"", words[0]), "see cbit --help");
}

}  // namespace cbit::cli
