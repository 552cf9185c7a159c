#include "cli/parse.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "base/text.hpp"

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
      if (const auto option = repeated_option(error.what()))
        return usage_error(fmt::format("{} is given more than once", *option), "give it once");
      return usage_error(first_line(error.what()), hint(words));
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

  // The option of which CLI11 says that it has more than one value; nullopt: it says something else.
  static std::optional<std::string> repeated_option(std::string_view said) {
    const std::size_t end = said.find(": At Most 1 required");
    if (end == std::string_view::npos) return std::nullopt;
    return std::string{said.substr(0, end)};
  }

  // For the first option that there is not.
  [[nodiscard]] std::string hint(std::span<const std::string_view> words) const {
    std::vector<std::string_view> names{"--help"};
    for (const OptionSpec& option : spec_.options) names.push_back(option.name);
    const std::string otherwise = fmt::format("see cbit {} --help", spec_.name);
    for (const std::string_view word : words) {
      const std::string_view name = word.substr(0, word.find('='));
      const bool unknown = name.starts_with("--") && std::ranges::find(names, name) == names.end();
      if (unknown) return did_you_mean(name, names, otherwise);
    }
    return otherwise;
  }

  OrError<void> check_choices(const Arguments& arguments) const {
    for (const OptionSpec& option : spec_.options) {
      const auto value = arguments.text(option.name);
      if (!value || option.choices.empty()) continue;
      if (std::ranges::find(option.choices, *value) != option.choices.end()) continue;
      const std::string_view stand_in = option.stand_in ? option.stand_in(*value) : std::string_view{};
      return usage_error(
          fmt::format("{} does not know \"{}\"", option.name, *value),
          stand_in.empty()
              ? did_you_mean(*value, {option.choices.begin(), option.choices.end()})
              : fmt::format("{} stands for it; use one of {}", stand_in, fmt::join(option.choices, ", ")));
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

tl::unexpected<Error> unknown_command(std::string_view name) {
  std::vector<std::string_view> names{"help"};
  for (const CommandSpec& spec : commands()) {
    names.push_back(spec.name);
    names.push_back(spec.name.substr(0, spec.name.find(' ')));
  }
  return usage_error(fmt::format("there is no command \"{}\"", name),
                     did_you_mean(name, names, "see cbit --help"));
}

// cbit help COMMAND
OrError<ParsedCommand> parse_help(std::span<const std::string_view> words) {
  if (words.empty()) return ParsedCommand{.help = true};
  for (const CommandSpec& spec : commands())
    if (words_of_name(spec, words) == words.size()) return ParsedCommand{.command = &spec, .help = true};
  if (words.size() == 1 && is_group(words[0])) return ParsedCommand{.help = true};
  return unknown_command(fmt::format("{}", fmt::join(words, " ")));
}

OrError<ParsedCommand> parse_command_line(std::span<const std::string_view> words) {
  if (words.empty()) return usage_error("a command is missing", "see cbit --help");
  if (words[0] == "--version") return ParsedCommand{.version = true};
  if (words[0] == "-h" || words[0] == "--help") return ParsedCommand{.help = true};
  if (words[0] == "help") return parse_help(words.subspan(1));
  for (const CommandSpec& spec : commands())
    if (const std::size_t count = words_of_name(spec, words); count != 0)
      return CommandParser{spec}.parse(words.subspan(count));
  if (is_group(words[0])) {
    if (words.size() > 1 && (words[1] == "-h" || words[1] == "--help")) return ParsedCommand{.help = true};
    if (words.size() > 1) return unknown_command(fmt::format("{} {}", words[0], words[1]));
    return usage_error(fmt::format("\"{}\" needs a second word", words[0]), "see cbit --help");
  }
  return unknown_command(words[0]);
}

}  // namespace cbit::cli
