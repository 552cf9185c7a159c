#include "cli/trace_file.hpp"

#include <ostream>
#include <string>
#include <utility>

#include "watch/export/chrome_trace.hpp"
#include "watch/export/ftrace.hpp"
#include "watch/export/json_lines.hpp"

namespace cbit {
namespace {

// Makes the exporter when there is a tracer to give names to ids, and completes it while that still lives.
template <class Exporter>
class ExportSink final : public EventSink {
 public:
  explicit ExportSink(std::ostream& out) : out_{&out} {}

  void on_attach(const Tracer& tracer) override { exporter_.emplace(tracer, *out_); }
  void on_event(const Event& event) override { exporter_->on_event(event); }
  void on_detach() override {
    if constexpr (requires { exporter_->finish(); }) exporter_->finish();
    exporter_.reset();
  }

 private:
  std::ostream* out_;
  std::optional<Exporter> exporter_;
};

std::unique_ptr<EventSink> make_sink(std::string_view format, std::ostream& out) {
  if (format == "jsonl") return std::make_unique<ExportSink<JsonLines>>(out);
  if (format == "ftrace") return std::make_unique<ExportSink<Ftrace>>(out);
  return std::make_unique<ExportSink<ChromeTrace>>(out);
}

}  // namespace

OrError<std::optional<TraceFile>> TraceFile::open(const Arguments& arguments) {
  const auto path = arguments.text("--trace");
  if (!path) {
    if (arguments.has("--trace-format"))
      return usage_error("--trace-format without --trace", "add --trace FILE");
    return std::optional<TraceFile>{};
  }
  auto file = std::make_unique<OutputFile>(CBIT_TRY(OutputFile::create(std::string{*path})));
  auto sink = make_sink(arguments.text("--trace-format").value_or("chrome"), file->stream());
  return std::optional<TraceFile>{TraceFile{std::move(file), std::move(sink)}};
}

}  // namespace cbit
