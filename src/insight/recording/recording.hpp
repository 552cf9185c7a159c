// A recording of a real kernel's DMA (`cbit record`, trace-cmd, ftrace), read and explained: which device
// bounces how much, who maps and does not unmap, which request can never fit, how full the pool was.
//
//   text ─ watch::DmaTrace ─ Tracer ─ watch::Explainer, Activity
//
// What the trace can tell and what not: watch/import/dma_trace.hpp. The same text gives the same report.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "recording/activity.hpp"
#include "watch/causes.hpp"
#include "watch/import/dma_trace.hpp"

namespace cbit::recording {

// The longest text that is read, and so the longest worth recording.
inline constexpr std::uint64_t recording_bytes_max = 256 << 20;

struct DeviceReport {
  std::string device;
  DeviceActivity activity;
  // Of the mappings that the recording saw made, coherent ones apart.
  std::uint64_t still_mapped = 0;
  std::uint64_t still_mapped_bytes = 0;
  std::uint64_t oldest_ns = 0;  // how long the oldest of them has been mapped
  // In each quarter of the time the least surplus of mappings is higher than in the one before.
  bool grows = false;
};

struct Recording {
  watch::RecordingHeader header;
  watch::TraceTally tally;
  std::uint64_t duration_ns = 0;                // from the first event to the last
  std::vector<DeviceReport> devices;            // most bounced bytes first
  std::uint64_t slots_held_max = 0;             // by mappings that the recording saw made
  std::optional<std::uint64_t> slots_used_max;  // by the kernel's counter, in the recording
  std::vector<watch::Cause> causes;
  // Over time, for pictures.
  double sample_seconds = 0;
  std::array<std::uint64_t, samples_count> slots_held{};
  std::array<std::uint64_t, samples_count> slots_used{};
};

// Errors (bad_input): no line of it is an event that tells of DMA, and no header says that none happened.
// `name` is the file's, for the message.
[[nodiscard]] OrError<Recording> read_recording(std::string_view text, std::string_view name);

[[nodiscard]] std::string to_text(const Recording& recording, bool colour);
// The object of schema/recording.schema.json.
[[nodiscard]] std::string to_json(const Recording& recording);
// One page, with pictures of how it went over time.
[[nodiscard]] std::string to_html(const Recording& recording);

}  // namespace cbit::recording
