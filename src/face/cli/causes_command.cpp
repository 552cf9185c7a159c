#include "cli/causes_command.hpp"

#include <fmt/format.h>

#include <ostream>

#include "cli/arguments.hpp"
#include "watch/causes.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec option_table[] = {
    {"--markdown", "", "The whole catalogue as a document (docs/causes.md)", ""}};
constexpr std::string_view examples[] = {"cbit causes", "cbit causes page-still-private"};

void print_one(std::ostream& out, const watch::CauseInfo& cause) {
  out << fmt::format("{}\n  {}\n\n  {}\n\n  Remedy: {}\n", cause.name, cause.title, cause.meaning,
                     cause.remedy);
  if (!cause.linux_says.empty()) out << fmt::format("  Linux says: {}\n", watch::linux_words(cause));
  out << fmt::format("  Source: {}\n", cause.source);
}

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  if (arguments.has("--markdown")) {
    streams.out << watch::catalogue_markdown();
    return ExitCode::ok;
  }
  if (arguments.positional.empty()) {
    for (const watch::CauseInfo& cause : watch::cause_catalogue())
      streams.out << fmt::format("{:<34} {}\n", cause.name, cause.title);
    return ExitCode::ok;
  }
  const watch::CauseInfo* const cause = watch::find_cause(arguments.positional.front());
  if (cause == nullptr)
    return usage_error(fmt::format("there is no cause \"{}\"", arguments.positional.front()),
                       "cbit causes lists them");
  print_one(streams.out, *cause);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec causes_command{
    "causes",
    "List the causes that cbit can name, or describe one",
    "Prints the catalogue of causes: the names are stable and are the ones in JSON output and experiments.",
    option_table,
    {.metavar = "NAME", .help = "The cause to describe"},
    examples,
    run,
};

}  // namespace cbit::cli
