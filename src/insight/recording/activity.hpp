// What devices did in a recording, in all and over its time: from events alone.
//
// Bounded: `samples_count` samples, devices by whoever makes the events. Threading: one thread, as for every
// sink.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "base/trace.hpp"

namespace cbit::recording {

inline constexpr std::size_t samples_count = 512;

struct DeviceActivity {
  std::uint64_t mappings = 0;
  std::uint64_t mapped_bytes = 0;
  std::uint64_t refused = 0;
  std::uint64_t bounces = 0;  // requests for a bounce buffer
  std::uint64_t bounced_bytes = 0;
  std::uint64_t forced = 0;    // of them, whatever the device reaches
  std::uint64_t dma_mask = 0;  // of the last
  std::uint64_t largest_bounce = 0;
  std::uint64_t too_long = 0;  // no pool can serve them
  // Mappings less unmaps since the beginning, coherent ones apart.
  std::int64_t surplus = 0;

  struct Sample {
    std::uint64_t bounced_bytes = 0;
    std::int64_t surplus = 0;  // the least in it
  };
  std::array<Sample, samples_count> samples{};
  std::size_t sampled = 0;  // samples that are begun
};

class Activity final : public EventSink {
 public:
  // `duration_ns`: how long the recording is; what comes later falls into the last sample.
  explicit Activity(std::uint64_t duration_ns) : sample_ns_{duration_ns / samples_count + 1} {}

  void on_event(const Event& event) override;
  void early_unmap(NameId device, std::uint64_t mappings, std::uint64_t now_ns);
  void finish();

  [[nodiscard]] const std::map<NameId, DeviceActivity>& devices() const { return devices_; }
  [[nodiscard]] std::size_t sample_of(std::uint64_t time_ns) const;
  [[nodiscard]] double sample_seconds() const { return static_cast<double>(sample_ns_) / 1e9; }
  // Slots that bounced mappings held, the most of each sample and of all.
  [[nodiscard]] const std::array<std::uint64_t, samples_count>& slots() const { return slots_max_; }
  [[nodiscard]] std::uint64_t slots_max() const;

 private:
  void on(const DmaMapped& mapped, std::uint64_t now_ns);
  void on(const DmaMapFailed& failed, std::uint64_t now_ns);
  void on(const DmaUnmapped& unmapped, std::uint64_t now_ns);
  void on(const SwiotlbBounced& bounced, std::uint64_t now_ns);
  void on(const SwiotlbFull& full, std::uint64_t now_ns);
  template <class Other>
  void on(const Other&, std::uint64_t) {}

  DeviceActivity::Sample& sample(DeviceActivity& device, std::uint64_t now_ns);
  void change_surplus(NameId device, std::int64_t by, std::uint64_t now_ns);
  void note_slots(std::uint64_t now_ns);

  std::uint64_t sample_ns_;
  std::map<NameId, DeviceActivity> devices_;
  std::map<std::pair<NameId, DmaAddr>, std::uint64_t> held_;  // slots
  std::uint64_t slots_ = 0;
  std::size_t slots_sampled_ = 0;
  std::array<std::uint64_t, samples_count> slots_max_{};
};

}  // namespace cbit::recording
