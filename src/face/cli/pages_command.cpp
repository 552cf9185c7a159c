#include "cli/pages_command.hpp"

#include <fmt/format.h>

#include <ostream>

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

OrError<ExitCode> run_completion(const Arguments& arguments, Streams& streams) {
  const std::string& shell = arguments.positional.front();
  if (shell == "bash")
    print_completion(streams.out, Shell::bash);
  else if (shell == "zsh")
    print_completion(streams.out, Shell::zsh);
  else if (shell == "fish")
    print_completion(streams.out, Shell::fish);
  else
    return usage_error(fmt::format("there is no completion for \"{}\"", shell), "use bash, zsh or fish");
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
    {.metavar = "SHELL", .help = "bash, zsh or fish", .required = true},
    completion_examples,
    run_completion,
};

}  // namespace cbit::cli
