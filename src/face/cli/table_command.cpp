#include "cli/table_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <ostream>
#include <vector>

#include "base/text.hpp"
#include "cli/platform_options.hpp"
#include "cli/table_format.hpp"
#include "layout/table.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec table_specs[] = {
    {"--platform", "P", "Only what is about this platform", "", platform_choices},
    {.name = "--kernel-version",
     .metavar = "V",
     .help = "Only what is about this Linux, of a table that compares several",
     .choices = kernel_choices,
     .stand_in = version_of_release},
    table_format_option,
    table_json_option,
    seed_option,
};

constexpr std::string_view table_examples[] = {
    "cbit table",
    "cbit table rdma",
    "cbit table linux-versions --platform sev --kernel-version 7.3",
    "cbit table ttm --format markdown",
};

std::vector<std::string_view> table_names() {
  std::vector<std::string_view> names;
  for (const explain::TableSpec& table : explain::tables()) names.push_back(table.name);
  return names;
}

OrError<const explain::TableSpec*> find_table(std::string_view name) {
  const auto found = std::ranges::find(explain::tables(), name, &explain::TableSpec::name);
  if (found != explain::tables().end()) return &*found;
  return usage_error(fmt::format("there is no table \"{}\"", name), did_you_mean(name, table_names()));
}

OrError<ExitCode> run_table(const Arguments& arguments, Streams& streams) {
  const explain::TableFormat format = CBIT_TRY(table_format(arguments));
  if (arguments.positional.empty()) {
    for (const std::string_view option : {"--platform", "--kernel-version"})
      if (arguments.has(option))
        return usage_error(fmt::format("{} chooses of a table, and none is named", option),
                           "name one of those that cbit table lists");
    layout::Table list{.columns = {{}, {}}};
    for (const explain::TableSpec& table : explain::tables())
      list.rows.push_back({std::string{table.name}, std::string{table.title}});
    streams.out << layout::render(list, streams.columns);
    return ExitCode::ok;
  }
  const explain::TableSpec& table = *CBIT_TRY(find_table(arguments.positional.front()));
  constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
  explain::TableRequest request{.platform = arguments.choice("--platform", platform_words),
                                .version = arguments.choice("--kernel-version", kernel_version_words)};
  request.seed = CBIT_TRY(arguments.number("--seed", 0, any)).value_or(request.seed);
  streams.out << explain::render(CBIT_TRY(explain::make_table(table, request)), format, streams.columns);
  return ExitCode::ok;
}

}  // namespace

const CommandSpec table_command{
    "table",
    "Make a table that compares systems: RDMA, graphics buffers, MKTME, virtio, a host's attacks, "
    "versions of Linux",
    "Runs the same work on many machines, one per cell or row, and prints what came of it. Without a name, "
    "lists the tables. Where something fails, the row names the causes: cbit causes NAME explains one. "
    "--json prints the object of schema/table.schema.json.",
    table_specs,
    {.metavar = "NAME", .help = "The table; see the list that cbit table prints", .names = table_names},
    table_examples,
    run_table,
};

}  // namespace cbit::cli
