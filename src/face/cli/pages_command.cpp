#include "cli/pages_command.hpp"

#include <fmt/format.h>

#include <ostream>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "cli/pages.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view man_examples[] = {"cbit man | man -l -"};
constexpr std::string_view completion_examples[] = {"source <(cbit completion bash)"};

OrError<ExitCode> run_man(const Arguments&, Streams& streams) {
  print_man_page(streams.out);
  return ExitCode::ok;
}

constexpr Word<Shell> shell_words[] = {{"bash", Shell::bash}, {"zsh", Shell::zsh}, {"fish", Shell::fish}};

std::vector<std::string_view> shell_names() {
  std::vector<std::string_view> names;
  for (const Word<Shell>& shell : shell_words) names.push_back(shell.word);
  return names;
}

OrError<ExitCode> run_completion(const Arguments& arguments, Streams& streams) {
  const std::string& name = arguments.positional.front();
  const auto shell = find_word(shell_words, name);
  if (!shell)
    return usage_error(fmt::format("there is no completion for \"{}\"", name),
                       did_you_mean(name, shell_names()));
  print_completion(streams.out, *shell);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec man_command{
    "man",
    "Print the man page",
    "Prints the manual page in roff, from the same table as --help.",
    {},
    {},
    man_examples,
    run_man,
};

const CommandSpec completion_command{
    "completion",
    "Print the shell completion",
    "Prints a completion script, from the same table as --help.",
    {},
    {.metavar = "SHELL", .help = "bash, zsh or fish", .required = true, .names = shell_names},
    completion_examples,
    run_completion,
};

}  // namespace cbit::cli
