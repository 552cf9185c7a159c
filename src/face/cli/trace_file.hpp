// --trace FILE --trace-format F --trace-events GLOB,...: the events of a run, written to a file that is
// complete or absent.
#pragma once

#include <memory>
#include <optional>

#include "base/trace.hpp"
#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {

inline constexpr std::string_view trace_format_choices[] = {"chrome", "jsonl", "ftrace"};
inline constexpr OptionSpec trace_option{.name = "--trace",
                                         .metavar = "FILE",
                                         .help = "Write the events of the run to FILE; - is standard output",
                                         .file = FileUse::output};
inline constexpr OptionSpec trace_format_option{
    "--trace-format", "F",
    "Its format: Chrome trace JSON for Perfetto, one JSON object a line, or ftrace text", "chrome",
    trace_format_choices};

[[nodiscard]] std::vector<std::string_view> event_names();
inline constexpr OptionSpec trace_events_option{
    .name = "--trace-events",
    .metavar = "GLOB,...",
    .help =
        "Only the events with these names, such as 'dma_*,swiotlb_*', of the boot, too; '*' for all there "
        "are",
    .fallback = "all, without the boot of a model kernel",
    .names = event_names};

class TraceFile {
 public:
  // nullopt: no trace was asked for.
  static OrError<std::optional<TraceFile>> open(const Arguments& arguments);

  // For one run: the trace ends when the sink is detached.
  [[nodiscard]] EventSink& sink() { return *sink_; }
  OrError<void> commit() { return file_->commit(); }

 private:
  TraceFile(std::unique_ptr<os::OutputFile> file, std::unique_ptr<EventSink> sink)
      : file_{std::move(file)}, sink_{std::move(sink)} {}

  std::unique_ptr<os::OutputFile> file_;
  std::unique_ptr<EventSink> sink_;
};

}  // namespace cbit::cli
