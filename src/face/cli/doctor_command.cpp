#include "cli/doctor_command.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <optional>
#include <ostream>
#include <thread>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "cli/terminal.hpp"
#include "doctor/doctor.hpp"
#include "doctor/pool_watch.hpp"
#include "facts/capture.hpp"
#include "facts/capture_archive.hpp"
#include "os/input_file.hpp"
#include "os/interruption.hpp"
#include "os/output_file.hpp"
#include "recording/recording.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec doctor_specs[] = {
    {.name = "--root",
     .metavar = "DIR",
     .help = "Diagnose a captured tree, a folder or an archive, instead of the running system",
     .fallback = "/",
     .file = FileUse::input},
    {.name = "--log",
     .metavar = "FILE",
     .help = "Judge a bare kernel log, as dmesg or journalctl -k prints it; - is standard input",
     .file = FileUse::input},
    {.name = "--capture",
     .metavar = "FILE.tar.zst",
     .help = "Write what was read into an archive, for a bug report; - is standard output",
     .file = FileUse::binary_output},
    {.name = "--trace",
     .metavar = "FILE",
     .help =
         "Explain a recording of cbit record, or what ftrace or trace-cmd report print; - is standard input",
     .file = FileUse::input},
    {.name = "--html",
     .metavar = "FILE",
     .help = "Write the report of --trace, with pictures, as a page",
     .file = FileUse::output},
    {"--json", "", "Print the object of schema/doctor.schema.json, of --trace that of recording.schema.json",
     ""},
    {"--quiet", "", "Print nothing; the exit code tells", ""},
    {"--verbose", "", "Show what was read for every check, and devices that do no DMA", ""},
    {"--watch", "", "Show the bounce pool's usage until Ctrl-C", ""},
    {"--interval", "SECONDS", "Time between two lines of --watch, 1 to 3600", "1"},
    {"--count", "N", "End --watch after N lines", ""},
    color_option,
};

constexpr std::string_view doctor_examples[] = {
    "cbit doctor",
    "cbit doctor --json",
    "cbit doctor --root tests/doctor/epyc-snp-iommu-pt",
    "dmesg | cbit doctor --log -",
    "cbit doctor --capture host.tar.zst",
    "cbit doctor --watch",
    "cbit doctor --trace recording.txt --html recording.html",
};

// Ctrl-C ends the watch after the line that is being written.
constexpr int interrupts[] = {SIGINT};

// False: interrupted.
bool wait_for(std::chrono::seconds time, const os::Interruption& interruption) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!interruption.came() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  return !interruption.came();
}

OrError<ExitCode> watch(const facts::HostTree& tree, const Arguments& arguments, Streams& streams) {
  if (!tree.live())
    return usage_error("--watch needs the running system", "a captured tree stands still; leave out --root");
  const std::chrono::seconds interval{CBIT_TRY(arguments.number("--interval", 1, 3600)).value_or(1)};
  const auto count = CBIT_TRY(arguments.number("--count", 1, 1'000'000'000));
  doctor::PoolSample before = CBIT_TRY(doctor::sample_pool(tree));
  const os::Interruption interruption{interrupts};
  streams.out << doctor::pool_watch_header;
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t lines = 0; streams.out.flush();) {
    const doctor::PoolSample now = CBIT_TRY(doctor::sample_pool(tree));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    streams.out << doctor::pool_watch_line(elapsed.count(), before, now);
    before = now;
    ++lines;
    if (count && lines >= *count) break;
    streams.out.flush();
    if (!wait_for(interval, interruption)) break;
  }
  return ExitCode::ok;
}

OrError<void> check_trace_options(const Arguments& arguments) {
  if (!arguments.has("--trace")) {
    if (arguments.has("--html")) return usage_error("--html is about --trace", "add --trace");
    return {};
  }
  for (const std::string_view option : {"--root", "--log", "--capture", "--watch"})
    if (arguments.has(option))
      return usage_error(std::string{option} + " is about a host", "leave it out, or leave out --trace");
  return {};
}

OrError<void> check_options(const Arguments& arguments) {
  CBIT_TRY(check_trace_options(arguments));
  const bool watching = arguments.has("--watch");
  for (const std::string_view option : {"--interval", "--count"})
    if (arguments.has(option) && !watching)
      return usage_error(std::string{option} + " is about --watch", "add --watch");
  if (watching && (arguments.has("--json") || arguments.has("--quiet") || arguments.has("--capture")))
    return usage_error("--watch prints lines for people", "leave out --json, --quiet and --capture");
  if (arguments.has("--log"))
    for (const std::string_view option : {"--root", "--capture", "--watch"})
      if (arguments.has(option))
        return usage_error(fmt::format("{} is about a system, --log about a text", option),
                           "give one of them");
  if (arguments.has("--capture") && arguments.has("--json"))
    return usage_error("--capture prints what is in the archive", "leave out --json");
  return {};
}

// A recording of minutes may come through a pipe as it is made.
constexpr os::InputKind trace_kind{.what = "a trace",
                                   .remedy = "record one with cbit record --output FILE",
                                   .bytes_max = recording::recording_bytes_max,
                                   .streams = true,
                                   .patience = std::chrono::minutes{10}};

OrError<ExitCode> explain_trace(const std::string& path, const Arguments& arguments, Streams& streams) {
  std::optional<os::OutputFile> html;
  if (const auto file = arguments.text("--html"))
    html.emplace(CBIT_TRY(os::OutputFile::create(std::string{*file})));
  const std::string text = CBIT_TRY(os::read_input(path, trace_kind));
  const recording::Recording recording = CBIT_TRY(recording::read_recording(text, path));
  if (html) {
    html->stream() << to_html(recording);
    CBIT_TRY(html->commit());
  }
  if (arguments.has("--json"))
    streams.out << to_json(recording);
  else if (!arguments.has("--quiet"))
    streams.out << to_text(recording, use_colour(arguments, streams));
  return recording.causes.empty() ? ExitCode::ok : ExitCode::check_failed;
}

OrError<facts::OpenedTree> open_subject(const Arguments& arguments) {
  constexpr os::InputKind log_kind{.what = "a kernel's log",
                                   .remedy = "give what dmesg prints, or - for standard input",
                                   .bytes_max = facts::kernel_log_bytes_max,
                                   .streams = true};
  if (const auto log = arguments.text("--log")) {
    std::string text = CBIT_TRY(os::read_input(std::string{*log}, log_kind));
    if (trimmed(text).empty() || trimmed(text) == "-- No entries --")  // as journalctl says it
      return bad_input("the log is empty, so that it says nothing",
                       "where kernel.dmesg_restrict is 1, dmesg needs root");
    return facts::OpenedTree{std::nullopt, facts::HostTree::of_log(std::move(text))};
  }
  return facts::OpenedTree::open(std::string{arguments.text("--root").value_or("/")});
}

OrError<void> write_capture(const facts::HostTree& tree, os::OutputFile file, Streams& streams) {
  const facts::Capture capture = facts::make_capture(tree.record(), "cbit " CBIT_VERSION);
  file.stream() << CBIT_TRY(facts::pack_capture(capture));
  CBIT_TRY(file.commit());
  streams.out << describe(capture);
  return {};
}

OrError<ExitCode> run_doctor(const Arguments& arguments, Streams& streams) {
  CBIT_TRY(check_options(arguments));
  if (const auto trace = arguments.text("--trace"))
    return explain_trace(std::string{*trace}, arguments, streams);
  facts::OpenedTree root = CBIT_TRY(open_subject(arguments));
  facts::HostTree& tree = root.tree;
  if (arguments.has("--watch")) return watch(tree, arguments, streams);
  std::optional<os::OutputFile> capture;
  if (const auto path = arguments.text("--capture"))
    capture.emplace(CBIT_TRY(os::OutputFile::create(std::string{*path})));
  const doctor::Diagnosis diagnosis = doctor::diagnose(tree);
  if (capture) {
    CBIT_TRY(write_capture(tree, *std::move(capture), streams));
    return ExitCode::ok;
  }
  if (arguments.has("--json"))
    streams.out << to_json(diagnosis);
  else if (!arguments.has("--quiet"))
    streams.out << to_text(diagnosis,
                           {.colour = use_colour(arguments, streams), .verbose = arguments.has("--verbose")});
  return diagnosis.failed() ? ExitCode::check_failed : ExitCode::ok;
}

}  // namespace

const CommandSpec doctor_command{
    "doctor",
    "Say what this host is, whether its memory encryption works, and where each device's DMA goes",
    "Reads the running system (CPUID, /proc, /sys, the kernel's log) and changes nothing. Prints a tree of "
    "checks, and a line per device: the way of its DMA on this system as the kernel's DMA code decides it, "
    "its limit, and each cause of trouble with its remedy. Works without root with what it can read, and "
    "says what it could not. Exit code 1: a check failed. With --trace it is about a recording instead: "
    "which device bounces how much, who does not unmap, which request can never fit, and why; exit code 1: "
    "a cause of trouble was found.",
    doctor_specs,
    {},
    doctor_examples,
    run_doctor,
};

}  // namespace cbit::cli
