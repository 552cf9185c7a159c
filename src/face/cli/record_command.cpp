#include "cli/record_command.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <optional>
#include <ostream>

#include "cli/arguments.hpp"
#include "os/interruption.hpp"
#include "os/output_file.hpp"
#include "recorder/recorder.hpp"
#include "recording/recording.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t seconds_max = 24 * 60 * 60;
constexpr std::uint64_t buffer_bytes_max = 1ull << 30;  // per CPU
constexpr std::uint64_t kib = 1024;

constexpr OptionSpec record_specs[] = {
    {"--seconds", "N", "How long to record, 1 to 86400; Ctrl-C ends it before", "10"},
    {.name = "--output",
     .metavar = "FILE",
     .help = "Where to write the recording; - is standard output",
     .fallback = "-",
     .file = FileUse::output},
    {"--device", "NAME", "Only of this device, as the kernel calls it; * stands for any characters", ""},
    {"--buffer", "SIZE", "The kernel's buffer for each CPU, up to 1G; what it cannot hold is lost", "4M"},
    {"--size", "SIZE", "End when the recording has this size, up to 256M", "256M"},
};

constexpr std::string_view record_examples[] = {
    "cbit record --output recording.txt",
    "cbit record --seconds 60 --device '0000:00:04.0' --output recording.txt",
    "cbit record | cbit doctor --trace -",
};

constexpr int recorder_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// The kernel's filter has the name within double quotes.
OrError<std::string> read_device(const Arguments& arguments) {
  const std::string_view name = arguments.text("--device").value_or("");
  constexpr std::size_t characters_max = 64;
  const auto is_plain = [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; };
  if (name.size() > characters_max || !std::ranges::all_of(name, is_plain))
    return usage_error(fmt::format("--device {}: no device has such a name", name),
                       "give a name as in /sys/bus/pci/devices, with * for the rest");
  return std::string{name};
}

OrError<recorder::RecordRequest> read_request(const Arguments& arguments) {
  recorder::RecordRequest request{.device = CBIT_TRY(read_device(arguments))};
  request.time_max =
      std::chrono::seconds{CBIT_TRY(arguments.number("--seconds", 1, seconds_max)).value_or(10)};
  request.bytes_max = CBIT_TRY(arguments.size("--size", recording::recording_bytes_max))
                          .value_or(recording::recording_bytes_max);
  const std::uint64_t buffer = CBIT_TRY(arguments.size("--buffer", buffer_bytes_max)).value_or(4096 * kib);
  request.buffer_kib = std::max<std::uint64_t>(buffer / kib, 1);
  return request;
}

OrError<ExitCode> run_record(const Arguments& arguments, Streams& streams) {
  const recorder::RecordRequest request = CBIT_TRY(read_request(arguments));
  std::optional<os::OutputFile> file;
  if (const auto path = arguments.text("--output"))
    file.emplace(CBIT_TRY(os::OutputFile::create(std::string{*path})));
  const facts::HostTree host = CBIT_TRY(facts::HostTree::open("/"));
  const os::Interruption interruption{recorder_signals};
  {
    const std::string tracefs = CBIT_TRY(recorder::find_tracefs());
    const auto instance = CBIT_TRY(recorder::TraceInstance::create(tracefs, request));
    CBIT_TRY(recorder::record(instance, request, host, file ? file->stream() : streams.out,
                              [&] { return interruption.came(); }));
  }
  if (file) CBIT_TRY(file->commit());
  return ExitCode::ok;
}

}  // namespace

const CommandSpec record_command{
    "record",
    "Record what the running kernel does with DMA: mappings, bounces, IOMMU entries",
    "Needs root. Has the kernel trace its events dma:* (Linux 6.12 and later), swiotlb:swiotlb_bounced and "
    "iommu:*, in a trace instance of its own that goes away with the recording, and writes them as text, "
    "with the pool's counters, the kernel's release, and what of its command line is no secret. cbit doctor "
    "--trace explains it.",
    record_specs,
    {},
    record_examples,
    run_record,
};

}  // namespace cbit::cli
