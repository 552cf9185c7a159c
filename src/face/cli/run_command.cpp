#include "cli/run_command.hpp"

#include <fmt/format.h>

#include <optional>
#include <ostream>

#include "cli/platform_options.hpp"
#include "cli/trace_file.hpp"
#include "os/input_file.hpp"
#include "os/output_file.hpp"
#include "os/temporary_folder.hpp"
#include "stream/report.hpp"
#include "stream/sample_image.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view default_files = "/usr/share/common-licenses";
constexpr std::uint64_t default_image_bytes = 32 << 20;
constexpr std::uint64_t default_memory_bytes = 512 << 20;

constexpr OptionSpec option_table[] = {
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
    {"--json", "", "Print the object of schema/run.schema.json", ""},
    trace_option,
    trace_format_option,
    trace_events_option,
    seed_option,
};

constexpr std::string_view examples[] = {
    "cbit run",
    "cbit run --html report.html",
    "cbit run --image disk.img --output copy.img --memory 2G",
};

// The image to stream: the user's, or one that is built here. `files` are what must be found in the copy
// again.
struct Source {
  std::string image;
  stream::FileDigests files;
};

OrError<Source> prepare_source(const Arguments& arguments, const os::TemporaryFolder& folder) {
  if (const auto image = arguments.text("--image")) {
    for (const std::string_view other : {"--files", "--image-size"})
      if (arguments.has(other))
        return usage_error(fmt::format("{} contradicts --image", other), "give one of them");
    return Source{std::string{*image}, {}};
  }
  const std::string files{arguments.text("--files").value_or(default_files)};
  const std::uint64_t bytes =
      CBIT_TRY(arguments.size("--image-size", 1ull << 30)).value_or(default_image_bytes);
  if (bytes < (1 << 20))
    return usage_error("--image-size is under 1 MiB", "a file system needs room; use 1M to 1G");
  Source source{folder.path() + "/source.img", CBIT_TRY(stream::digest_folder(files, bytes))};
  CBIT_TRY(stream::build_image(source.image, files, bytes));
  return source;
}

OrError<stream::StreamOptions> stream_options(const Arguments& given, const Source& source,
                                              const os::TemporaryFolder& folder) {
  Arguments arguments = given;
  arguments.options.try_emplace("--platform", "sev");
  stream::StreamOptions stream;
  stream.bed = CBIT_TRY(testbed_config(arguments));
  if (!given.has("--memory")) stream.bed.machine.memory_bytes = default_memory_bytes;
  stream.source = source.image;
  // An image is written at random places: one that goes into a stream is copied there in the end.
  const std::string output{given.text("--output").value_or("")};
  stream.target = output.empty() || os::is_written_into(output) ? folder.path() + "/target.img" : output;
  stream.request_bytes = CBIT_TRY(given.size("--request", 16 << 20)).value_or(stream.request_bytes);
  return stream;
}

// "n of m": the files of the source that the written image holds with their contents.
OrError<std::pair<std::size_t, std::size_t>> compare_files(const Source& source, const std::string& target) {
  if (source.files.empty()) return std::pair<std::size_t, std::size_t>{0, 0};
  const stream::FileDigests found = CBIT_TRY(stream::digest_image(target, stream::stream_bytes_max));
  std::size_t equal = 0;
  for (const auto& [name, digest] : source.files) {
    const auto there = found.find(name);
    equal += there != found.end() && there->second == digest ? 1 : 0;
  }
  return std::pair{equal, source.files.size()};
}

OrError<std::optional<os::OutputFile>> open_output(const Arguments& arguments, std::string_view option) {
  const auto path = arguments.text(option);
  if (!path) return std::optional<os::OutputFile>{};
  return std::optional{CBIT_TRY(os::OutputFile::create(std::string{*path}))};
}

OrError<void> copy_image(const std::string& image, os::OutputFile& output) {
  os::InputFile file = CBIT_TRY(os::InputFile::open(
      image, {.what = "an image", .remedy = "TMPDIR needs room", .bytes_max = stream::stream_bytes_max}));
  Bytes chunk(1 << 20);
  for (;;) {
    const std::size_t n = CBIT_TRY(file.read(chunk));
    if (n == 0) return output.commit();
    output.stream().write(reinterpret_cast<const char*>(chunk.data()), static_cast<std::streamsize>(n));
  }
}

// Both the timeline of the page and the trace file listen, where asked for.
class Listeners final : public EventSink {
 public:
  void add(EventSink& sink) { sinks_.push_back(&sink); }
  void on_attach(const Tracer& tracer) override {
    for (EventSink* sink : sinks_) sink->on_attach(tracer);
  }
  void on_event(const Event& event) override {
    for (EventSink* sink : sinks_) sink->on_event(event);
  }
  void on_detach() override {
    for (EventSink* sink : sinks_) sink->on_detach();
  }

 private:
  std::vector<EventSink*> sinks_;
};

// What is written beside the image, opened before the work.
struct Outputs {
  std::optional<TraceFile> trace;
  std::optional<os::OutputFile> page;
  std::optional<os::OutputFile> image;  // only where it is no file
};

OrError<Outputs> open_outputs(const Arguments& arguments) {
  Outputs outputs;
  outputs.trace = CBIT_TRY(TraceFile::open(arguments));
  outputs.page = CBIT_TRY(open_output(arguments, "--html"));
  const auto image = arguments.text("--output");
  if (image && os::is_written_into(std::string{*image}))
    outputs.image = CBIT_TRY(open_output(arguments, "--output"));
  return outputs;
}

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  const os::TemporaryFolder folder = CBIT_TRY(os::TemporaryFolder::create("cbit"));
  Outputs outputs = CBIT_TRY(open_outputs(arguments));
  const Source source = CBIT_TRY(prepare_source(arguments, folder));
  const stream::StreamOptions options = CBIT_TRY(stream_options(arguments, source, folder));
  stream::Timeline timeline;
  Listeners listeners;
  listeners.add(timeline);
  if (outputs.trace) listeners.add(outputs.trace->sink());

  const stream::StreamReport report = CBIT_TRY(stream::stream(options, &listeners));
  if (outputs.trace) CBIT_TRY(outputs.trace->commit());
  const auto [equal, total] = CBIT_TRY(compare_files(source, options.target));
  if (outputs.image) CBIT_TRY(copy_image(options.target, *outputs.image));
  if (outputs.page) {
    outputs.page->stream() << stream::to_html(report, timeline);
    CBIT_TRY(outputs.page->commit());
  }
  if (arguments.has("--json")) {
    streams.out << stream::to_json(report);
  } else {
    streams.out << stream::to_text(report);
    if (total != 0)
      streams.out << fmt::format("\nFiles     {} of {} in the new image are what they were\n", equal, total);
  }
  return report.equal && report.correct.intact && equal == total ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace

const CommandSpec run_command{
    "run",
    "Stream a disk through an encrypted guest, and show who saw what",
    "Builds a disk image with real files, lets a guest read it through virtio-blk and the bounce pool into "
    "its memory and "
    "write it out to another image, and reports: are the images equal, what could the host read, how many "
    "bytes were "
    "bounced and what did it cost, which pages are shared. Then the same with a driver that hands out "
    "physical addresses.",
    option_table,
    {},
    examples,
    run,
};

}  // namespace cbit::cli
