#include "cli/peek_command.hpp"

#include <fmt/format.h>

#include <ostream>

#include "cli/arguments.hpp"
#include "cli/lab_file.hpp"
#include "cli/peek_process.hpp"
#include "lab/peek.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec peek_specs[] = {
    {"--buffer", "NAME", "The buffer to look at; the names are the experiment's", ""},
    {"--offset", "SIZE", "Where to begin in the buffer", "0"},
    {"--length", "SIZE", "How many bytes, up to 64K", "256"},
    {"--step", "N", "Look after this step, the first is 1; at the end unless given", ""},
    {"--pid", "PID", "Look at this running process instead of an experiment", ""},
    {.name = "--range",
     .metavar = "RANGE",
     .help = "Look there: START+LENGTH, START-END in hex, a mapping's name, or \"largest\"; may be repeated; "
             "all memory that can be written unless given",
     .repeated = true},
    {"--ranges", "", "List what the process has mapped, and read nothing", ""},
    {"--runs", "N", "How many runs of like pages to print of each range", "16"},
    {.name = "--map",
     .metavar = "FILE.png",
     .help = "Draw a map, a square per page, with a legend; - is standard output",
     .file = FileUse::binary_output},
    {"--dump", "", "Print the bytes of the ranges as xxd does, up to 64K", ""},
    {"--fault-in", "", "Read pages that are not in memory too, which may allocate them", ""},
    {"--devices", "", "Read the mappings of devices too, which may have effects on them", ""},
    {"--json", "",
     "Print the object of schema/peek.schema.json; of a process that of peek-process.schema.json, with "
     "--ranges that of peek-ranges.schema.json",
     ""},
};

constexpr std::string_view peek_examples[] = {
    "cbit peek outcome-46-sev-host-view --buffer container --length 64",
    "cbit peek outcome-46-sev-host-view --buffer qemu-heap --length 64",
    "cbit peek my-driver.toml --buffer ring --step 4 --json",
    "cbit peek --pid $(pgrep qemu) --range largest --map guest.png",
    "cbit peek --pid $(pgrep qemu) --range 0x7f2e00000000+4K --dump",
};

constexpr std::string_view experiment_options[] = {"--buffer", "--offset", "--length", "--step"};
constexpr std::uint64_t any = ~std::uint64_t{0};

// The first of the options that was given; empty: none.
std::string_view first_given(const Arguments& arguments, std::span<const std::string_view> options) {
  for (const std::string_view option : options)
    if (arguments.has(option)) return option;
  return {};
}

OrError<ExitCode> peek_experiment(const Arguments& arguments, Streams& streams) {
  const auto buffer = arguments.text("--buffer");
  if (!buffer) return usage_error("no buffer is given", "add --buffer NAME");
  lab::PeekOptions options{.buffer = std::string{*buffer}};
  options.offset = CBIT_TRY(arguments.size("--offset", any)).value_or(0);
  options.length = CBIT_TRY(arguments.size("--length", any));
  options.step = CBIT_TRY(arguments.number("--step", 0, any));
  const lab::Experiment experiment = CBIT_TRY(load_lab_file(arguments.positional.front()));
  const lab::Peek seen = CBIT_TRY(lab::peek(experiment, options));
  streams.out << (arguments.has("--json") ? lab::to_json(seen, options.buffer) : lab::to_text(seen));
  return ExitCode::ok;
}

OrError<ExitCode> run_peek(const Arguments& arguments, Streams& streams) {
  const bool process = arguments.has("--pid");
  if (process && !arguments.positional.empty())
    return usage_error("an experiment and a process are given", "leave one of them out");
  if (!process && arguments.positional.empty())
    return usage_error("neither an experiment nor a process is given",
                       "use cbit peek FILE --buffer NAME, or cbit peek --pid PID");
  const std::string_view foreign =
      process ? first_given(arguments, experiment_options) : first_given(arguments, peek_process_options);
  if (!foreign.empty())
    return usage_error(
        fmt::format("{} belongs to {}", foreign, process ? "an experiment" : "a process"),
        process ? "leave it out; --range chooses what to look at" : "add --pid PID, or leave it out");
  return process ? peek_process(arguments, streams) : peek_experiment(arguments, streams);
}

}  // namespace

const CommandSpec peek_command{
    "peek",
    "Look at memory as the host sees it: a buffer of an experiment, or a running process",
    "Runs an experiment, to its end or to a step of it, and prints hexdumps of a buffer side by side: what "
    "the CPU of its owner reads (a kernel, a guest, a process), what a device reads at the address that it "
    "was given, what the host's software reads without a key, and what lies in the memory chips. With --pid "
    "it reads the memory of a running process, a VMM for one, through /proc, without stopping it, and says "
    "of each page whether it looks like ciphertext, compressed data, text, zeros or other data.",
    peek_specs,
    {.metavar = "FILE",
     .help = "A lab file, or the name of an experiment that comes with cbit",
     .files = true,
     .names = builtin_names},
    peek_examples,
    run_peek,
};

}  // namespace cbit::cli
