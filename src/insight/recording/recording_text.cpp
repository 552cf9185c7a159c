#include <iterator>

#include "base/format.hpp"
#include "recording/recording.hpp"
#include "watch/report.hpp"

namespace cbit::recording {
namespace {

double seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string of_header(const Recording& recording) {
  const watch::RecordingHeader& header = recording.header;
  std::string text = fmt::format("cbit: a recording{}, {:.3f} s, {} events\n",
                                 header.kernel.empty() ? "" : " of Linux " + header.kernel,
                                 seconds(recording.duration_ns), recording.tally.events);
  auto out = std::back_inserter(text);
  if (!header.command_line.empty()) fmt::format_to(out, "Command line: {}\n", header.command_line);
  if (!header.events.empty()) fmt::format_to(out, "Recorded: {}\n", header.events);
  if (!header.end.empty()) fmt::format_to(out, "It ended {}\n", header.end);
  return text;
}

// Why less may be told than happened.
std::string of_tally(const watch::TraceTally& tally) {
  std::string text;
  auto out = std::back_inserter(text);
  if (tally.gaps != 0)
    fmt::format_to(out, "Gaps: {}, {} events were lost; what was mapped before the last is not known\n",
                   tally.gaps, tally.lost_events == 0 ? "some" : std::to_string(tally.lost_events));
  if (tally.early_unmaps != 0)
    fmt::format_to(out, "Unmaps of what was mapped before{}: {}\n", tally.gaps == 0 ? "" : ", or in a gap",
                   tally.early_unmaps);
  if (tally.cut_lists != 0)
    fmt::format_to(out, "Scatterlists that the kernel did not print whole: {}\n", tally.cut_lists);
  if (tally.left_out != 0) fmt::format_to(out, "Left out, as too much for a report: {}\n", tally.left_out);
  return text;
}

std::string of_pool(const Recording& recording) {
  const watch::RecordingHeader& header = recording.header;
  if (!header.pool_slots && !recording.slots_used_max && recording.slots_held_max == 0) return {};
  std::string text = "Bounce pool:";
  auto out = std::back_inserter(text);
  if (header.pool_slots) fmt::format_to(out, " {} slots;", *header.pool_slots);
  if (recording.slots_used_max)
    fmt::format_to(out, " at most {} in use when the kernel's counter was read;", *recording.slots_used_max);
  if (header.slots_used_max) fmt::format_to(out, " at most {} since the boot;", *header.slots_used_max);
  fmt::format_to(out, " at most {} by mappings of the recording\n", recording.slots_held_max);
  return text;
}

std::string of_devices(const Recording& recording) {
  if (recording.devices.empty()) return "DMA: none\n";
  std::string text = fmt::format("DMA: {:<18} {:>10} {:>14} {:>10} {:>14} {:>9} {:>9} {:>9}\n", "device",
                                 "mappings", "bytes", "bounced", "bytes", "too long", "refused", "mapped");
  for (const DeviceReport& device : recording.devices) {
    const DeviceActivity& activity = device.activity;
    fmt::format_to(std::back_inserter(text), "     {:<18} {:>10} {:>14} {:>10} {:>14} {:>9} {:>9} {:>9}\n",
                   device.device, activity.mappings, activity.mapped_bytes, activity.bounces,
                   activity.bounced_bytes, activity.too_long, activity.refused, device.still_mapped);
  }
  return text;
}

// Why it bounces, and whether it gives back what it maps.
std::string of_device_notes(const Recording& recording) {
  std::string text;
  auto out = std::back_inserter(text);
  for (const DeviceReport& device : recording.devices) {
    const DeviceActivity& activity = device.activity;
    if (activity.bounces != 0)
      fmt::format_to(out, "{}: {} of {} bounces by FORCE; mask {:#x}; the largest has {} bytes\n",
                     device.device, activity.forced, activity.bounces, activity.dma_mask,
                     activity.largest_bounce);
    if (device.still_mapped != 0)
      fmt::format_to(out, "{}: still mapped at the end: {} bytes, the oldest for {:.3f} s\n", device.device,
                     device.still_mapped_bytes, seconds(device.oldest_ns));
    if (device.grows)
      fmt::format_to(
          out,
          "{}: maps more than it unmaps, all the time: {} mappings more at the end; its driver may "
          "lose them\n",
          device.device, activity.surplus);
  }
  return text;
}

}  // namespace

std::string to_text(const Recording& recording, bool colour) {
  const std::string causes = recording.causes.empty()
                                 ? "Causes: none\n"
                                 : "Causes\n" + watch::render_causes(recording.causes, {.colour = colour});
  return of_header(recording) + of_tally(recording.tally) + of_pool(recording) + of_devices(recording) +
         of_device_notes(recording) + causes;
}

}  // namespace cbit::recording
