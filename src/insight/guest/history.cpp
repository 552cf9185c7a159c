#include "guest/history.hpp"

#include <algorithm>

namespace cbit::guest {

void History::on_event(const Event& event) {
  const auto sample = [&]() -> Sample& { return sample_at(event.time_ns); };
  if (const auto* conversion = std::get_if<PageConversion>(&event.payload)) {
    Sample& now = sample();
    if (conversion->encrypted)
      shared_pages_ -= std::min(shared_pages_, conversion->pages);
    else
      shared_pages_ += conversion->pages;
    now.shared_pages = shared_pages_;
  } else if (const auto* allocated = std::get_if<SwiotlbAllocated>(&event.payload)) {
    Sample& now = sample();
    slots_ += allocated->slots;
    now.slots_max = std::max(now.slots_max, slots_);
  } else if (const auto* released = std::get_if<SwiotlbReleased>(&event.payload)) {
    (void)sample();  // while they are still in use
    slots_ -= std::min(slots_, released->slots);
  } else if (const auto* access = std::get_if<DeviceAccess>(&event.payload)) {
    sample().device_bytes[access->device] += access->bytes;
  }
}

History::Sample& History::sample_at(std::uint64_t time_ns) {
  while (time_ns / sample_ns_ >= samples_max) halve();
  const std::size_t index = time_ns / sample_ns_;
  if (index >= samples_.size())
    samples_.resize(index + 1, {.shared_pages = shared_pages_, .slots_max = slots_});
  return samples_[index];
}

// Half as many samples, each twice as long.
void History::halve() {
  sample_ns_ *= 2;
  const std::size_t pairs = (samples_.size() + 1) / 2;
  for (std::size_t i = 0; i < pairs; ++i) {
    Sample pair = std::move(samples_[2 * i]);
    if (2 * i + 1 < samples_.size()) {
      const Sample& later = samples_[2 * i + 1];
      pair.shared_pages = later.shared_pages;
      pair.slots_max = std::max(pair.slots_max, later.slots_max);
      for (const auto& [device, bytes] : later.device_bytes) pair.device_bytes[device] += bytes;
    }
    samples_[i] = std::move(pair);
  }
  samples_.resize(pairs);
}

}  // namespace cbit::guest
