#include "recording/activity.hpp"

#include <algorithm>

#include "spec/swiotlb.hpp"

namespace cbit::recording {

void Activity::on_event(const Event& event) {
  std::visit([&](const auto& payload) { on(payload, event.time_ns); }, event.payload);
}

std::size_t Activity::sample_of(std::uint64_t time_ns) const {
  return std::min<std::uint64_t>(time_ns / sample_ns_, samples_count - 1);
}

// Samples in which nothing happened are filled in.
DeviceActivity::Sample& Activity::sample(DeviceActivity& device, std::uint64_t now_ns) {
  const std::size_t wanted = sample_of(now_ns);
  for (; device.sampled <= wanted; ++device.sampled) device.samples[device.sampled].surplus = device.surplus;
  return device.samples[wanted];
}

void Activity::change_surplus(NameId name, std::int64_t by, std::uint64_t now_ns) {
  DeviceActivity& device = devices_[name];
  (void)sample(device, now_ns);
  device.surplus += by;
  DeviceActivity::Sample& now = sample(device, now_ns);
  now.surplus = std::min(now.surplus, device.surplus);
}

void Activity::note_slots(std::uint64_t now_ns) {
  const std::size_t now = sample_of(now_ns);
  for (; slots_sampled_ <= now; ++slots_sampled_) slots_max_[slots_sampled_] = slots_;
}

std::uint64_t Activity::slots_max() const { return std::ranges::max(slots_max_); }

// What the slots are counted of is where the buffer begins in its first slot, and how long it is.
void Activity::on(const DmaMapped& mapped, std::uint64_t now_ns) {
  DeviceActivity& device = devices_[mapped.device];
  ++device.mappings;
  device.mapped_bytes += mapped.bytes;
  if (mapped.kind != DmaMappingKind::coherent) change_surplus(mapped.device, 1, now_ns);
  if (mapped.path != DmaPath::swiotlb) return;
  note_slots(now_ns);
  const std::uint64_t offset = mapped.dma.value() % spec::io_tlb_size;
  const std::uint64_t slots =
      mapped.bytes / spec::io_tlb_size + spec::nr_slots(mapped.bytes % spec::io_tlb_size + offset);
  held_[{mapped.device, mapped.dma}] = slots;
  slots_ += slots;
  std::uint64_t& most = slots_max_[sample_of(now_ns)];
  most = std::max(most, slots_);
}

void Activity::on(const DmaMapFailed& failed, std::uint64_t) { ++devices_[failed.device].refused; }

void Activity::on(const DmaUnmapped& unmapped, std::uint64_t now_ns) {
  if (unmapped.kind != DmaMappingKind::coherent) change_surplus(unmapped.device, -1, now_ns);
  const auto held = held_.find({unmapped.device, unmapped.dma});
  if (held == held_.end()) return;
  note_slots(now_ns);
  slots_ -= std::min(slots_, held->second);
  held_.erase(held);
}

void Activity::on(const SwiotlbBounced& bounced, std::uint64_t now_ns) {
  DeviceActivity& device = devices_[bounced.device];
  ++device.bounces;
  device.bounced_bytes += bounced.size;
  device.forced += bounced.force ? 1 : 0;
  device.dma_mask = bounced.dma_mask;
  device.largest_bounce = std::max(device.largest_bounce, bounced.size);
  sample(device, now_ns).bounced_bytes += bounced.size;
}

void Activity::on(const SwiotlbFull& full, std::uint64_t) {
  if (full.slots_wanted > full.segment_slots) ++devices_[full.device].too_long;
}

void Activity::early_unmap(NameId device, std::uint64_t mappings, std::uint64_t now_ns) {
  change_surplus(device, -static_cast<std::int64_t>(mappings), now_ns);
}

void Activity::finish() {
  const std::uint64_t end_ns = sample_ns_ * samples_count;
  for (auto& [name, device] : devices_) (void)sample(device, end_ns);
  note_slots(end_ns);
}

}  // namespace cbit::recording
