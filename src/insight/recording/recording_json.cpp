#include <nlohmann/json.hpp>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "recording/recording.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::recording {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::optional<std::uint64_t>& value) { return value ? Json(*value) : Json(nullptr); }

Json json_of(const DeviceReport& device) {
  const DeviceActivity& activity = device.activity;
  return {{"device", device.device},
          {"mappings", activity.mappings},
          {"mapped_bytes", activity.mapped_bytes},
          {"refused", activity.refused},
          {"bounces", activity.bounces},
          {"bounced_bytes", activity.bounced_bytes},
          {"forced_bounces", activity.forced},
          {"largest_bounce", activity.largest_bounce},
          {"dma_mask", fmt::format("{:#x}", activity.dma_mask)},
          {"too_long", activity.too_long},
          {"still_mapped", device.still_mapped},
          {"still_mapped_bytes", device.still_mapped_bytes},
          {"oldest_ns", device.oldest_ns},
          {"surplus", activity.surplus},
          {"grows", device.grows}};
}

Json json_of(const watch::TraceTally& tally) {
  return {{"lines", tally.lines},
          {"events", tally.events},
          {"other_events", tally.other_events},
          {"gaps", tally.gaps},
          {"lost_events", tally.lost_events},
          {"early_unmaps", tally.early_unmaps},
          {"cut_lists", tally.cut_lists},
          {"left_out", tally.left_out}};
}

}  // namespace

std::string to_json(const Recording& recording) {
  const watch::RecordingHeader& header = recording.header;
  Json devices = Json::array();
  for (const DeviceReport& device : recording.devices) devices.push_back(json_of(device));
  Json json;
  json["schema"] = "cbit-recording-1";
  json["kernel"] = header.kernel;
  json["command_line"] = header.command_line;
  json["recorded"] = header.events;
  json["end"] = header.end;
  json["duration_ns"] = recording.duration_ns;
  json["trace"] = json_of(recording.tally);
  json["swiotlb"] = {{"slots", or_null(header.pool_slots)},
                     {"slots_used_max", or_null(recording.slots_used_max)},
                     {"slots_used_max_since_boot", or_null(header.slots_used_max)},
                     {"slots_held_max", recording.slots_held_max}};
  json["devices"] = devices;
  json["causes"] = watch::causes_json(recording.causes);
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::recording
