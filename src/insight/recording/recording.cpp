#include "recording/recording.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "watch/explainer.hpp"
#include "watch/import/trace_line.hpp"

namespace cbit::recording {
namespace {

// Noise of a busy device is not a leak, and neither is how a short piece of work begins.
constexpr std::int64_t growth_min = 16;
constexpr std::uint64_t growth_ns_min = ns_per_second;

std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::optional<std::uint64_t> first_time(std::string_view text) {
  while (!text.empty())
    if (const auto event = watch::parse_trace_line(next_line(text))) return event->time_ns;
  return std::nullopt;
}

std::optional<std::uint64_t> last_time(std::string_view text) {
  while (!text.empty()) {
    const std::size_t begin = text.find_last_of('\n', text.size() - 1);
    const std::string_view line = begin == std::string_view::npos ? text : text.substr(begin + 1);
    if (const auto event = watch::parse_trace_line(line)) return event->time_ns;
    text = begin == std::string_view::npos ? std::string_view{} : text.substr(0, begin);
  }
  return std::nullopt;
}

std::uint64_t duration_of(std::string_view text) {
  const auto first = first_time(text), last = last_time(text);
  return first && last && *last > *first ? *last - *first : 0;
}

bool grows(const DeviceActivity& activity) {
  constexpr std::size_t quarter = samples_count / 4;
  std::array<std::int64_t, 4> least{};
  for (std::size_t i = 0; i < least.size(); ++i) {
    const auto* const first = activity.samples.data() + i * quarter;
    least[i] = std::min_element(first, first + quarter, [](const auto& a, const auto& b) {
                 return a.surplus < b.surplus;
               })->surplus;
  }
  const bool rises = std::ranges::adjacent_find(least, std::ranges::greater_equal{}) == least.end();
  return rises && least.back() - least.front() >= growth_min;
}

void add_still_mapped(DeviceReport& report, const watch::Mapping& mapping, std::uint64_t now_ns) {
  if (mapping.call.kind == DmaMappingKind::coherent) return;
  ++report.still_mapped;
  report.still_mapped_bytes += mapping.call.bytes;
  report.oldest_ns = std::max(report.oldest_ns, now_ns - std::min(now_ns, mapping.mapped_ns));
}

std::vector<DeviceReport> devices_of(const Activity& activity, const watch::MappingTable& mappings,
                                     const Tracer& tracer, bool can_tell_growth) {
  std::map<NameId, DeviceReport> by_name;
  for (const auto& [name, device] : activity.devices())
    by_name[name] = {.device = std::string{tracer.name(name)},
                     .activity = device,
                     .grows = can_tell_growth && grows(device)};
  mappings.for_each_active([&](const watch::Mapping& mapping) {
    add_still_mapped(by_name[mapping.call.device], mapping, tracer.clock().now_ns());
  });
  std::vector<DeviceReport> devices;
  for (auto& [name, report] : by_name) devices.push_back(std::move(report));
  std::ranges::sort(devices, [](const DeviceReport& a, const DeviceReport& b) {
    const std::uint64_t first = a.activity.bounced_bytes, second = b.activity.bounced_bytes;
    return first != second ? first > second : a.device < b.device;
  });
  return devices;
}

// Between samples it stays as it was told.
void add_pool_samples(Recording& recording, const Activity& activity,
                      const std::vector<watch::PoolSample>& samples) {
  std::size_t filled = 0;
  std::uint64_t used = 0;
  const auto fill_to = [&](std::size_t end) {
    for (; filled < end; ++filled) recording.slots_used[filled] = used;
  };
  for (const watch::PoolSample& sample : samples) {
    const std::size_t at = activity.sample_of(sample.time_ns);
    fill_to(at + 1);
    used = sample.slots_used;
    recording.slots_used[at] = std::max(recording.slots_used[at], used);
    recording.slots_used_max = std::max(recording.slots_used_max.value_or(0), used);
  }
  fill_to(samples_count);
}

}  // namespace

OrError<Recording> read_recording(std::string_view text, std::string_view name) {
  Clock clock;
  Tracer tracer{clock};
  watch::Explainer explainer{tracer, {.platform = "recorded"}};
  Recording recording;
  recording.duration_ns = duration_of(text);
  Activity activity{recording.duration_ns};
  watch::DmaTrace trace{clock, tracer, explainer.mappings()};
  trace.hear_early_unmaps(
      [&](NameId device, std::uint64_t mappings) { activity.early_unmap(device, mappings, clock.now_ns()); });
  tracer.attach(explainer);
  tracer.attach(activity);
  while (!text.empty()) trace.take(next_line(text));
  explainer.finish(watch::Ending::in_flight);
  activity.finish();
  tracer.detach(activity);
  tracer.detach(explainer);
  recording.header = trace.header();
  recording.tally = trace.tally();
  if (recording.tally.events == 0 && recording.header.events.empty())
    return bad_input(fmt::format("{} has no event of DMA", name),
                     "record dma:*, swiotlb:* and iommu:* with cbit record, or with trace-cmd and print "
                     "them with trace-cmd report");
  recording.devices = devices_of(activity, explainer.mappings(), tracer,
                                 recording.tally.gaps == 0 && recording.duration_ns >= growth_ns_min);
  recording.slots_held_max = activity.slots_max();
  recording.slots_held = activity.slots();
  recording.sample_seconds = activity.sample_seconds();
  add_pool_samples(recording, activity, trace.pool_samples());
  recording.causes = explainer.causes();
  return recording;
}

}  // namespace cbit::recording
