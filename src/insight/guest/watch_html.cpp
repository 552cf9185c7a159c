// The report of a run as one page: what the text says, and pictures of how it went over time.
#include <algorithm>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "guest/watch_report.hpp"
#include "watch/export/html_page.hpp"

namespace cbit::guest {
namespace {

using watch::ChartSeries;

template <class Value>
ChartSeries series_of(std::string name, const History& history, Value value) {
  ChartSeries series{.name = std::move(name)};
  for (const History::Sample& sample : history.samples()) series.values.push_back(value(sample));
  return series;
}

std::string of_shared_pages(const History& history, double seconds) {
  const ChartSeries series[] = {series_of("shared with the host", history, [](const History::Sample& sample) {
    return static_cast<double>(sample.shared_pages);
  })};
  return watch::step_chart(series, seconds, "pages");
}

std::string of_pool(const History& history, double seconds) {
  const ChartSeries series[] = {series_of("slots in use at most", history, [](const History::Sample& sample) {
    return static_cast<double>(sample.slots_max);
  })};
  return watch::step_chart(series, seconds, "slots");
}

std::string of_dma(const History& history, const Tracer& tracer, double seconds) {
  std::map<std::string, NameId> devices;
  for (const History::Sample& sample : history.samples())
    for (const auto& [device, bytes] : sample.device_bytes) devices.emplace(tracer.name(device), device);
  const double scale = 1e9 / static_cast<double>(history.sample_ns()) / (1 << 20);
  std::vector<ChartSeries> series;
  for (const auto& [name, device] : devices)
    series.push_back(series_of(name, history, [&, id = device](const History::Sample& sample) {
      const auto moved = sample.device_bytes.find(id);
      return moved == sample.device_bytes.end() ? 0.0 : static_cast<double>(moved->second) * scale;
    }));
  return watch::step_chart(series, seconds, "MiB/s");
}

std::string section(std::string_view title, std::string_view body) {
  return fmt::format("<h2>{}</h2>\n{}", title, body);
}

}  // namespace

std::string to_html(const WatchReport& report, const History& history, const Tracer& tracer) {
  const double seconds = static_cast<double>(history.samples().size() * history.sample_ns()) / 1e9;
  return watch::html_page(fmt::format("cbit: Linux {}, {}", report.kernel, report.platform),
                          fmt::format("<pre>{}</pre>\n", html_text(to_text(report))) +
                              section("Shared pages", of_shared_pages(history, seconds)) +
                              section("DMA by device", of_dma(history, tracer, seconds)) +
                              section("Bounce buffers", of_pool(history, seconds)));
}

}  // namespace cbit::guest
