#include "cli/stream_command.hpp"

#include <fmt/format.h>

#include <optional>
#include <ostream>

#include "cli/platform_options.hpp"
#include "cli/trace_file.hpp"
#include "os/output_file.hpp"
#include "stream/report.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view default_files = "/usr/share/common-licenses";
constexpr std::uint64_t default_image_bytes = 32 << 20;
constexpr std::uint64_t default_memory_bytes = 512 << 20;

constexpr OptionSpec stream_specs[] = {
    {.name = "--image",
     .metavar = "FILE",
     .help = "Stream this raw disk image, of up to 16 GiB, instead of building one",
     .file = FileUse::input},
    {"--files", "DIR", "Put the files of this folder into the image that is built", default_files},
    {"--image-size", "SIZE", "Size of the image that is built, 1M to 1G", "32M"},
    {.name = "--output",
     .metavar = "FILE",
     .help = "Keep the image that the guest writes; - is standard output",
     .file = FileUse::binary_output},
    {"--request", "SIZE", "Bytes per request of the driver, whole pages", "128K"},
    {"--platform", "P", "What encrypts the guest's memory", "sev", platform_choices},
    cbit_option,
    {"--memory", "SIZE", "RAM of the guest", "512M"},
    cpus_option,
    kernel_option,
    swiotlb_option,
    {.name = "--html",
     .metavar = "FILE",
     .help = "Write the report as one self-contained page; - is standard output",
     .file = FileUse::output},
    {"--json", "", "Print the object of schema/stream.schema.json", ""},
    trace_option,
    trace_format_option,
    trace_events_option,
    seed_option,
};

constexpr std::string_view stream_examples[] = {
    "cbit stream",
    "cbit stream --html report.html",
    "cbit stream --image disk.img --output copy.img --memory 2G",
};

OrError<stream::SourceOptions> source_options(const Arguments& arguments) {
  if (const auto image = arguments.text("--image")) {
    for (const std::string_view other : {"--files", "--image-size"})
      if (arguments.has(other))
        return usage_error(fmt::format("{} contradicts --image", other), "give one of them");
    return stream::SourceOptions{.image = std::string{*image}};
  }
  stream::SourceOptions source{.files = std::string{arguments.text("--files").value_or(default_files)}};
  source.bytes = CBIT_TRY(arguments.size("--image-size", 1ull << 30)).value_or(default_image_bytes);
  if (source.bytes < (1 << 20))
    return usage_error("--image-size is under 1 MiB", "a file system needs room; use 1M to 1G");
  return source;
}

OrError<stream::StreamOptions> stream_options(const Arguments& given) {
  Arguments arguments = given;
  arguments.options.try_emplace("--platform", "sev");
  stream::StreamOptions stream{.source = CBIT_TRY(source_options(given))};
  stream.bed = CBIT_TRY(testbed_config(arguments));
  if (!given.has("--memory")) stream.bed.machine.memory_bytes = default_memory_bytes;
  if (const auto output = given.text("--output")) stream.target = *output;
  stream.request_bytes = CBIT_TRY(given.size("--request", 16 << 20)).value_or(stream.request_bytes);
  return stream;
}

// Opened before the work, so that what cannot be written is known.
OrError<std::optional<os::OutputFile>> open_page(const Arguments& arguments) {
  const auto path = arguments.text("--html");
  if (!path) return std::optional<os::OutputFile>{};
  return std::optional{CBIT_TRY(os::OutputFile::create(std::string{*path}))};
}

OrError<ExitCode> run_stream(const Arguments& arguments, Streams& streams) {
  const stream::StreamOptions options = CBIT_TRY(stream_options(arguments));
  auto trace = CBIT_TRY(TraceFile::open(arguments));
  auto page = CBIT_TRY(open_page(arguments));
  stream::Timeline timeline;
  const stream::StreamReport report =
      CBIT_TRY(stream::stream(options, {&timeline, trace ? &trace->sink() : nullptr}));
  if (trace) CBIT_TRY(trace->commit());
  if (page) {
    page->stream() << stream::to_html(report, timeline);
    CBIT_TRY(page->commit());
  }
  streams.out << (arguments.has("--json") ? stream::to_json(report) : stream::to_text(report));
  return report.ok() ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace

const CommandSpec stream_command{
    "stream",
    "Stream a disk through an encrypted guest, and show who saw what",
    "Builds a disk image with real files, lets a guest read it through virtio-blk and the bounce pool into "
    "its memory and write it out to another image, and reports: are the images equal, what could the host "
    "read, how many bytes were bounced and what did it cost, which pages are shared. Then the same with a "
    "driver that hands out physical addresses.",
    stream_specs,
    {},
    stream_examples,
    run_stream,
};

}  // namespace cbit::cli
