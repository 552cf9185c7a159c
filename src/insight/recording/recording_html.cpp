#include <algorithm>
#include <vector>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "recording/recording.hpp"
#include "watch/export/html_page.hpp"

namespace cbit::recording {
namespace {

using watch::ChartSeries;

constexpr std::size_t devices_drawn_max = 12;

std::vector<double> values_of(const std::array<std::uint64_t, samples_count>& samples) {
  return {samples.begin(), samples.end()};
}

// `value` of each device's samples; devices where it is never more than zero have no line.
template <class Value>
std::vector<ChartSeries> by_device(const Recording& recording, Value value) {
  std::vector<ChartSeries> series;
  for (const DeviceReport& device : recording.devices) {
    ChartSeries one{.name = device.device};
    for (const DeviceActivity::Sample& sample : device.activity.samples) one.values.push_back(value(sample));
    if (std::ranges::max(one.values) > 0 && series.size() < devices_drawn_max)
      series.push_back(std::move(one));
  }
  return series;
}

std::string section(const Recording& recording, std::string_view title,
                    const std::vector<ChartSeries>& series, std::string_view unit) {
  const double seconds = recording.sample_seconds * samples_count;
  return fmt::format("<h2>{}</h2>\n{}", title, watch::step_chart(series, seconds, unit, "of the recording"));
}

}  // namespace

std::string to_html(const Recording& recording) {
  const double scale = 1 / recording.sample_seconds / (1 << 20);
  const auto bounced = by_device(recording, [&](const DeviceActivity::Sample& sample) {
    return static_cast<double>(sample.bounced_bytes) * scale;
  });
  const auto surplus = by_device(recording, [](const DeviceActivity::Sample& sample) {
    return static_cast<double>(std::max<std::int64_t>(sample.surplus, 0));
  });
  std::vector<ChartSeries> slots{{"by mappings of the recording, at most", values_of(recording.slots_held)}};
  if (recording.slots_used_max) slots.push_back({"the kernel's counter", values_of(recording.slots_used)});
  const std::string kernel = recording.header.kernel.empty() ? "" : " of Linux " + recording.header.kernel;
  return watch::html_page(
      "cbit: a recording" + kernel,
      fmt::format("<pre>{}</pre>\n", html_text(to_text(recording, false))) +
          section(recording, "Bounced bytes by device", bounced, "MiB/s") +
          section(recording, "Bounce buffers", slots, "slots") +
          section(recording, "Mappings less unmaps since the beginning", surplus, "mappings, at least"));
}

}  // namespace cbit::recording
