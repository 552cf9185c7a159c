#include "cli/causes_command.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ostream>
#include <span>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "layout/table.hpp"
#include "layout/text.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec causes_specs[] = {
    {"--markdown", "", "The whole catalogue as a document (docs/causes.md)", ""},
    {"--json", "", "Print the object of schema/causes.schema.json", ""},
};
constexpr std::string_view causes_examples[] = {
    "cbit causes",
    "cbit causes page-still-private",
    "cbit causes swiotlb buffer is full",
    "cbit causes 'nvme 0000:00:04.0: swiotlb buffer is full (sz: 524288 bytes), "
    "total 32768 (slots), used 0 (slots)'",
};

void print_wrapped(Streams& streams, std::string_view text) {
  constexpr std::size_t indent = 2;
  const std::size_t columns = std::max(streams.columns.value_or(text.size() + indent), indent) - indent;
  for (const std::string_view line : layout::wrap(text, columns))
    streams.out << fmt::format("{:{}}{}\n", "", indent, line);
}

void print_one(Streams& streams, const watch::CauseInfo& cause) {
  streams.out << cause.name << '\n';
  print_wrapped(streams, cause.title);
  streams.out << '\n';
  print_wrapped(streams, cause.meaning);
  streams.out << '\n';
  for (const watch::Remedy& remedy : cause.remedies)
    print_wrapped(streams, fmt::format("Remedy{}, {}", kernels_of(remedy), to_text(remedy)));
  if (!cause.linux_says.empty())
    print_wrapped(streams, fmt::format("Linux says: {}", watch::linux_words(cause)));
  print_wrapped(streams, fmt::format("Source: {}", cause.source));
}

void print_list(Streams& streams, std::span<const watch::CauseInfo* const> causes) {
  layout::Table list{.columns = {{}, {}}};
  for (const watch::CauseInfo* const cause : causes)
    list.rows.push_back({std::string{cause->name}, std::string{cause->title}});
  streams.out << layout::render(list, streams.columns);
}

// What the message itself decides in full, the others by their names.
void print_found(Streams& streams, const watch::CausesOfWords& found) {
  const std::size_t told = found.causes.size() == 1 ? 1 : found.decided;
  for (std::size_t i = 0; i < told; ++i) {
    if (i != 0) streams.out << '\n';
    print_one(streams, *found.causes[i]);
  }
  if (told == found.causes.size()) return;
  if (told != 0) streams.out << "\nLinux has the same words for:\n";
  print_list(streams, std::span{found.causes}.subspan(told));
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

OrError<ExitCode> run_causes(const Arguments& arguments, Streams& streams) {
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
    print_found(streams, found);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec causes_command{
    "causes",
    "List the causes that cbit can name, or describe one",
    "Prints the catalogue of causes: the names are stable and are the ones in JSON output and experiments. "
    "Words of a kernel's message find the causes that it may have; a whole line, as pasted from dmesg, is "
    "judged by its numbers.",
    causes_specs,
    {.metavar = "NAME|WORDS",
     .help = "The cause to describe, or what Linux says",
     .repeated = true,
     .names = watch::cause_names},
    causes_examples,
    run_causes,
};

}  // namespace cbit::cli
