#include "cli/trace_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <set>
#include <string>
#include <utility>

#include "base/text.hpp"
#include "cli/name_pattern.hpp"
#include "watch/event_names.hpp"
#include "watch/export/chrome_trace.hpp"
#include "watch/export/ftrace.hpp"
#include "watch/export/json_lines.hpp"

namespace cbit::cli {
namespace {

// Makes the exporter when there is a tracer to give names to ids, and completes it while that still lives.
template <class Exporter>
class ExportSink final : public EventSink {
 public:
  explicit ExportSink(std::ostream& out) : out_{&out} {}

  void on_attach(const Tracer& tracer) override { exporter_.emplace(tracer, *out_); }
  // Nobody asked for particular events: what a DMA does is looked for, among tens of thousands of the boot.
  [[nodiscard]] bool hears_boot() const override { return false; }
  void on_event(const Event& event) override { exporter_->on_event(event); }
  void on_detach() override {
    if constexpr (requires { exporter_->finish(); }) exporter_->finish();
    exporter_.reset();
  }

 private:
  std::ostream* out_;
  std::optional<Exporter> exporter_;
};

// Lets through the events whose names were chosen, those of the boot, too.
class EventFilter final : public EventSink {
 public:
  EventFilter(std::unique_ptr<EventSink> next, std::set<std::string_view> names)
      : next_{std::move(next)}, names_{std::move(names)} {}

  void on_attach(const Tracer& tracer) override { next_->on_attach(tracer); }
  void on_event(const Event& event) override {
    if (names_.contains(watch::event_name(event.payload))) next_->on_event(event);
  }
  void on_detach() override { next_->on_detach(); }

 private:
  std::unique_ptr<EventSink> next_;
  std::set<std::string_view> names_;
};

// The names that the patterns match, each at least one.
OrError<std::set<std::string_view>> chosen_events(std::string_view patterns) {
  std::set<std::string_view> chosen;
  for (std::string_view rest = patterns; !rest.empty();) {
    const std::string pattern{rest.substr(0, rest.find(','))};
    rest.remove_prefix(std::min(rest.size(), pattern.size() + 1));
    const auto is_meant = [&](std::string_view name) { return matches(pattern, name); };
    std::ranges::copy_if(watch::all_event_names(), std::inserter(chosen, chosen.end()), is_meant);
    if (std::ranges::none_of(watch::all_event_names(), is_meant))
      return usage_error(
          fmt::format("--trace-events: no event has a name like \"{}\"", pattern),
          did_you_mean(pattern, event_names(),
                       fmt::format("the events are {}", fmt::join(watch::all_event_names(), ", "))));
  }
  return chosen;
}

std::unique_ptr<EventSink> make_sink(std::string_view format, std::ostream& out) {
  if (format == "jsonl") return std::make_unique<ExportSink<watch::JsonLines>>(out);
  if (format == "ftrace") return std::make_unique<ExportSink<watch::Ftrace>>(out);
  return std::make_unique<ExportSink<watch::ChromeTrace>>(out);
}

}  // namespace

std::vector<std::string_view> event_names() {
  return {watch::all_event_names().begin(), watch::all_event_names().end()};
}

OrError<std::optional<TraceFile>> TraceFile::open(const Arguments& arguments) {
  const auto path = arguments.text("--trace");
  if (!path) {
    for (const std::string_view option : {"--trace-format", "--trace-events"})
      if (arguments.has(option))
        return usage_error(fmt::format("{} without --trace", option), "add --trace FILE");
    return std::optional<TraceFile>{};
  }
  std::optional<std::set<std::string_view>> events;
  if (const auto patterns = arguments.text("--trace-events")) events = CBIT_TRY(chosen_events(*patterns));
  auto file = std::make_unique<os::OutputFile>(CBIT_TRY(os::OutputFile::create(std::string{*path})));
  auto sink = make_sink(arguments.text("--trace-format").value_or("chrome"), file->stream());
  if (events) sink = std::make_unique<EventFilter>(std::move(sink), *std::move(events));
  return std::optional<TraceFile>{TraceFile{std::move(file), std::move(sink)}};
}

}  // namespace cbit::cli
