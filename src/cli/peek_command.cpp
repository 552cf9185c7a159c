#include "cli/peek_command.hpp"

#include <ostream>

#include "cli/arguments.hpp"
#include "cli/lab_file.hpp"
#include "lab/peek.hpp"

namespace cbit {
namespace {

constexpr OptionSpec option_table[] = {
    {"--buffer", "NAME", "The buffer to look at; the names are the experiment's", ""},
    {"--offset", "SIZE", "Where to begin in the buffer", "0"},
    {"--length", "SIZE", "How many bytes, up to 64K", "256"},
    {"--step", "N", "Look after this step, the first is 1; at the end unless given", ""},
    {"--json", "", "Print the object of schema/peek.schema.json", ""},
};

constexpr std::string_view examples[] = {
    "cbit peek outcome-46-sev-host-view --buffer container --length 64",
    "cbit peek outcome-46-sev-host-view --buffer qemu-heap --length 64",
    "cbit peek my-driver.toml --buffer ring --step 4 --json",
};

constexpr std::uint64_t any = ~std::uint64_t{0};

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  const auto buffer = arguments.text("--buffer");
  if (!buffer) return usage_error("no buffer is given", "add --buffer NAME");
  PeekOptions options{.buffer = std::string{*buffer}};
  options.offset = CBIT_TRY(arguments.size("--offset", any)).value_or(0);
  options.length = CBIT_TRY(arguments.size("--length", any));
  options.step = CBIT_TRY(arguments.number("--step", 0, any));
  const Experiment experiment = CBIT_TRY(load_lab_file(arguments.positional.front()));
  const Peek seen = CBIT_TRY(peek(experiment, options));
  streams.out << (arguments.has("--json") ? to_json(seen, options.buffer) : to_text(seen));
  return ExitCode::ok;
}

}  // namespace

const CommandSpec peek_command{
    "peek",
    "Look at one buffer as its owner, a device, the host and the memory chips see it",
    "Runs an experiment, to its end or to a step of it, and prints hexdumps of a buffer side by side: what "
    "the "
    "CPU of its owner reads (a kernel, a guest, a process), what a device reads at the address that it was "
    "given, "
    "what the host's software reads without a key, and what lies in the memory chips.",
    option_table,
    {.metavar = "FILE",
     .help = "A lab file, or the name of an experiment that comes with cbit",
     .required = true,
     .files = true},
    examples,
    run,
};

}  // namespace cbit
