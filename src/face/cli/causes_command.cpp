#include "cli/causes_command.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec option_table[] = {
    {"--markdown", "", "The whole catalogue as a document (docs/causes.md)", ""},
    {"--json", "", "Print the object of schema/causes.schema.json", ""},
};
constexpr std::string_view examples[] = {
    "cbit causes",
    "cbit causes page-still-private",
    "cbit causes swiotlb buffer is full",
    "cbit causes 'nvme 0000:00:04.0: swiotlb buffer is full (sz: 524288 bytes), "
    "total 32768 (slots), used 0 (slots)'",
};

void print_one(std::ostream& out, const watch::CauseInfo& cause) {
  out << fmt::format("{}\n  {}\n\n  {}\n\n", cause.name, cause.title, cause.meaning);
  for (const watch::Remedy& remedy : cause.remedies)
    out << fmt::format("  Remedy{}, {}\n", kernels_of(remedy), to_text(remedy));
  if (!cause.linux_says.empty()) out << fmt::format("  Linux says: {}\n", watch::linux_words(cause));
  out << fmt::format("  Source: {}\n", cause.source);
}

void print_line(std::ostream& out, const watch::CauseInfo& cause) {
  out << fmt::format("{:<34} {}\n", cause.name, cause.title);
}

// What the message itself decides in full, the others by their names.
void print_found(std::ostream& out, const watch::CausesOfWords& found) {
  const std::size_t told = found.causes.size() == 1 ? 1 : found.decided;
  for (std::size_t i = 0; i < told; ++i) {
    if (i != 0) out << '\n';
    print_one(out, *found.causes[i]);
  }
  if (told == found.causes.size()) return;
  if (told != 0) out << "\nLinux has the same words for:\n";
  for (std::size_t i = told; i < found.causes.size(); ++i) print_line(out, *found.causes[i]);
}

// The whole catalogue where no words are given.
OrError<watch::CausesOfWords> find(const std::vector<std::string>& positional) {
  watch::CausesOfWords found;
  const std::string words = fmt::format("{}", fmt::join(positional, " "));
  if (positional.empty())
    for (const watch::CauseInfo& cause : watch::cause_catalogue()) found.causes.push_back(&cause);
  else if (const watch::CauseInfo* const cause = watch::find_cause(words))
    found.causes.push_back(cause);
  else
    found = watch::causes_of_words(words);
  if (found.causes.empty())
    return usage_error(
        fmt::format("there is no cause \"{}\", and no message with these words", words),
        did_you_mean(words, watch::cause_names(), "cbit causes lists them, and what Linux says of each"));
  return found;
}

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  if (arguments.has("--markdown")) {
    if (arguments.has("--json") || !arguments.positional.empty())
      return usage_error("--markdown prints the whole catalogue as a document", "give it alone");
    streams.out << watch::catalogue_markdown();
    return ExitCode::ok;
  }
  const watch::CausesOfWords found = CBIT_TRY(find(arguments.positional));
  if (arguments.has("--json"))
    streams.out << watch::catalogue_json(found);
  else
    print_found(streams.out, found);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec causes_command{
    "causes",
    "List the causes that cbit can name, or describe one",
    "Prints the catalogue of causes: the names are stable and are the ones in JSON output and experiments. "
    "Words of a kernel's message find the causes that it may have; a whole line, as pasted from dmesg, is "
    "judged by its numbers.",
    option_table,
    {.metavar = "NAME|WORDS",
     .help = "The cause to describe, or what Linux says",
     .repeated = true,
     .names = watch::cause_names},
    examples,
    run,
};

}  // namespace cbit::cli
