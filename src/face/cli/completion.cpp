#include <fmt/format.h>

#include <ostream>
#include <set>
#include <string>

#include "base/text.hpp"
#include "cli/pages.hpp"

namespace cbit::cli {
namespace {

std::string_view first_word(std::string_view name) { return name.substr(0, name.find(' ')); }
std::string_view second_word(std::string_view name) {
  const auto blank = name.find(' ');
  return blank == std::string_view::npos ? std::string_view{} : name.substr(blank + 1);
}

std::set<std::string_view> first_words() {
  std::set<std::string_view> words;
  for (const CommandSpec& command : commands()) words.insert(first_word(command.name));
  return words;
}
std::set<std::string_view> second_words(std::string_view group) {
  std::set<std::string_view> words;
  for (const CommandSpec& command : commands())
    if (first_word(command.name) == group && !second_word(command.name).empty())
      words.insert(second_word(command.name));
  return words;
}

// Names that a word without an option may be, each behind a blank.
std::string positional_names(const CommandSpec& command) {
  std::string names;
  if (command.positional.names != nullptr)
    for (const std::string_view name : command.positional.names()) names += fmt::format(" {}", name);
  return names;
}

// What an option's value may be, divided by blanks; empty: anything, or a file's name.
std::string values_of(const OptionSpec& option) {
  return option.names != nullptr ? fmt::format("{}", fmt::join(option.names(), " "))
                                 : fmt::format("{}", fmt::join(option.choices, " "));
}

bool takes_files(const OptionSpec& option) {
  const std::string_view word = option.metavar;
  return option.file != FileUse::none || word.starts_with("FILE") || word == "DIR" || word == "FOLDER";
}

std::string option_names(const CommandSpec& command) {
  std::string names = "--help";
  for (const OptionSpec& option : command.options) names += fmt::format(" {}", option.name);
  return names;
}

// bash takes --option=value apart at the "=".
void print_bash(std::ostream& out) {
  out << "# bash completion for cbit\n_cbit() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
         "  [[ $cur == = ]] && cur=\n"
         "  [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
         "  COMPREPLY=()\n";
  out << fmt::format(
      "  if [[ $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W '{} help --help --version' -- \"$cur\")); "
      "return; fi\n"
      "  if [[ $command == help && $COMP_CWORD -eq 2 ]]; then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); "
      "return; fi\n"
      "  if [[ $command == help ]]; then\n    command=${{COMP_WORDS[2]}}\n"
      "    [[ $COMP_CWORD -gt 3 ]] && return\n    case $command in\n",
      fmt::join(first_words(), " "), fmt::join(first_words(), " "));
  for (const std::string_view word : first_words())
    if (const auto seconds = second_words(word); !seconds.empty())
      out << fmt::format("      {}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")) ;;\n", word,
                         fmt::join(seconds, " "));
  out << "    esac\n    return\n  fi\n";
  for (const std::string_view word : first_words())
    if (const auto seconds = second_words(word); !seconds.empty())
      out << fmt::format(
          "  if [[ $command == {0} ]]; then\n"
          "    if [[ $COMP_CWORD -eq 2 ]]; then COMPREPLY=($(compgen -W '{1}' -- \"$cur\")); return; fi\n"
          "    command=\"{0} ${{COMP_WORDS[2]}}\"\n  fi\n",
          word, fmt::join(seconds, " "));
  out << "  case \"$command $prev\" in\n";
  for (const CommandSpec& command : commands())
    for (const OptionSpec& option : command.options)
      if (const std::string values = values_of(option); !values.empty())
        out << fmt::format("    '{} {}') COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;\n",
                           command.name, option.name, values);
      else if (takes_files(option))
        out << fmt::format("    '{} {}') COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", command.name,
                           option.name);
      else if (!option.metavar.empty())
        out << fmt::format("    '{} {}') return ;;\n", command.name, option.name);
  out << "  esac\n  case $command in\n";
  for (const CommandSpec& command : commands())
    out << fmt::format("    '{}') COMPREPLY=($(compgen -W '{}{}'{} -- \"$cur\")) ;;\n", command.name,
                       option_names(command), positional_names(command),
                       command.positional.files ? " -f" : "");
  out << "  esac\n}\ncomplete -o filenames -F _cbit cbit\n";
}

// What stands between single quotes.
std::string single_quoted(std::string_view text) {
  const std::string quoted = shell_quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

// The specs of _arguments: brackets and colons are its syntax.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':') out += '\\';
    out += c;
  }
  return single_quoted(out);
}

void print_zsh(std::ostream& out) {
  out << "#compdef cbit\n_cbit() {\n  local command=$words[2] skip=1\n";
  out << fmt::format(
      "  if (( CURRENT == 2 )); then compadd -- {0} help --help --version; return; fi\n"
      "  if [[ $command == help ]]; then\n    (( CURRENT == 3 )) && compadd -- {0}\n",
      fmt::join(first_words(), " "));
  for (const std::string_view word : first_words())
    if (const auto seconds = second_words(word); !seconds.empty())
      out << fmt::format("    (( CURRENT == 4 )) && [[ $words[3] == {} ]] && compadd -- {}\n", word,
                         fmt::join(seconds, " "));
  out << "    return\n  fi\n";
  for (const std::string_view word : first_words())
    if (const auto seconds = second_words(word); !seconds.empty())
      out << fmt::format(
          "  if [[ $command == {0} ]]; then\n"
          "    if (( CURRENT == 3 )); then compadd -- {1}; return; fi\n"
          "    command=\"{0} $words[3]\"; skip=2\n  fi\n",
          word, fmt::join(seconds, " "));
  out << "  shift $skip words; (( CURRENT -= skip ))\n  case $command in\n";
  for (const CommandSpec& command : commands()) {
    out << fmt::format("    '{}')\n      _arguments '--help[this text]'", command.name);
    for (const OptionSpec& option : command.options) {
      out << fmt::format(" \\\n        '{}[{}]", option.name, zsh_text(option.help));
      const std::string values = values_of(option);
      if (!option.metavar.empty())
        out << fmt::format(":{}:{}", zsh_text(option.metavar),
                           values.empty() && takes_files(option) ? "_files" : fmt::format("({})", values));
      out << '\'';
    }
    const std::string names = positional_names(command);
    if (command.positional.files && !names.empty())
      out << fmt::format(" \\\n        '*: :_alternative \"names:name:({})\" \"files:file:_files\"'",
                         names.substr(1));
    else if (command.positional.files)
      out << " \\\n        '*:file:_files'";
    else if (!names.empty())
      out << fmt::format(" \\\n        '*:name:({})'", names.substr(1));
    out << " ;;\n";
  }
  out << "  esac\n}\n_cbit \"$@\"\n";
}

void print_fish(std::ostream& out) {
  out << "# fish completion for cbit\ncomplete -c cbit -f\n";
  for (const std::string_view word : first_words())
    out << fmt::format(
        "complete -c cbit -n __fish_use_subcommand -a {0}\n"
        "complete -c cbit -n '__fish_seen_subcommand_from help' -a {0}\n",
        word);
  out << "complete -c cbit -n __fish_use_subcommand -a help\n";
  for (const CommandSpec& command : commands()) {
    std::string condition = fmt::format("__fish_seen_subcommand_from {}", first_word(command.name));
    if (const auto second = second_word(command.name); !second.empty()) {
      out << fmt::format("complete -c cbit -n '{}' -a {} -d '{}'\n", condition, second,
                         single_quoted(command.summary));
      condition += fmt::format("; and __fish_seen_subcommand_from {}", second);
    }
    for (const OptionSpec& option : command.options) {
      out << fmt::format("complete -c cbit -n '{}' -l {} -d '{}'", condition, option.name.substr(2),
                         single_quoted(option.help));
      const std::string values = values_of(option);
      if (!option.metavar.empty()) out << (values.empty() && takes_files(option) ? " -r -F" : " -x");
      if (!values.empty()) out << fmt::format(" -a '{}'", values);
      out << '\n';
    }
    if (command.positional.files) out << fmt::format("complete -c cbit -n '{}' -F\n", condition);
    if (const std::string names = positional_names(command); !names.empty())
      out << fmt::format("complete -c cbit -n '{}' -a '{}'\n", condition, names.substr(1));
  }
}

}  // namespace

void print_completion(std::ostream& out, Shell shell) {
  switch (shell) {
    case Shell::bash: return print_bash(out);
    case Shell::zsh: return print_zsh(out);
    case Shell::fish: return print_fish(out);
  }
}

}  // namespace cbit::cli
