#include "dev/virtio/packed_ring.hpp"

#include <utility>

#include "base/format.hpp"

namespace cbit::dev {

OrTrouble<std::unique_ptr<VirtRing>> PackedRing::create(bus::DmaPort& port, const VirtQueueConfig& config,
                                                        const VirtRingFeatures& features) {
  CBIT_TRY(check_area("descriptor ring", config.descriptors, 16, spec::VringAreas::desc(config.size)));
  CBIT_TRY(check_area("driver event suppression", config.available, 4, sizeof(spec::PackedEvent)));
  CBIT_TRY(check_area("device event suppression", config.used, 4, sizeof(spec::PackedEvent)));
  return std::unique_ptr<VirtRing>{new PackedRing{port, config, features}};
}

// 2.8.1: available when AVAIL is the driver's wrap counter and USED is not.
OrTrouble<std::uint16_t> PackedRing::available() {
  const auto at = slot(next_avail_.index) + offsetof(spec::PackedDesc, flags);
  const auto flags = CBIT_TRY(load<std::uint16_t>(at, "reading descriptor flags"));
  const bool avail = (flags & spec::packed_flag::avail) != 0;
  const bool used = (flags & spec::packed_flag::used) != 0;
  return static_cast<std::uint16_t>(avail == next_avail_.wrap && used != next_avail_.wrap ? 1 : 0);
}

// 2.8.6: a list lies in consecutive places, and its last descriptor has the buffer's id.
OrTrouble<VirtChain> PackedRing::pop() {
  VirtChain chain{.descriptors = 0};
  for (spec::PackedPlace place = next_avail_;; place.advance(1, config_.size)) {
    if (chain.descriptors == config_.size)
      return trouble(fmt::format("descriptor list is longer than the queue of {}", config_.size));
    const auto desc = CBIT_TRY(load<spec::PackedDesc>(slot(place.index), "reading a descriptor"));
    ++chain.descriptors;
    chain.head = desc.id;
    const bool more = (desc.flags & spec::vring_flag::next) != 0;
    if ((desc.flags & spec::vring_flag::indirect) == 0) {
      CBIT_TRY(append(chain, DmaAddr{desc.addr}, desc.len, (desc.flags & spec::vring_flag::write) != 0));
    } else {
      if (chain.descriptors != 1 || more) return trouble("indirect descriptor in a descriptor list");
      CBIT_TRY(append_indirect(chain, desc));
    }
    if (!more) break;
  }
  next_avail_.advance(chain.descriptors, config_.size);
  return chain;
}

// 2.8.7: the whole table is the list; of its flags WRITE alone counts.
OrTrouble<void> PackedRing::append_indirect(VirtChain& chain, const spec::PackedDesc& desc) {
  const DmaAddr table{desc.addr};
  const std::uint32_t entries = CBIT_TRY(indirect_entries(table, desc.len));
  for (std::uint32_t i = 0; i < entries; ++i) {
    const auto entry =
        CBIT_TRY(load<spec::PackedDesc>(table + spec::VringAreas::desc(i), "reading a descriptor"));
    CBIT_TRY(append(chain, DmaAddr{entry.addr}, entry.len, (entry.flags & spec::vring_flag::write) != 0));
  }
  return {};
}

// Length and id first, then the flags that show them. The places of the list's other descriptors are skipped.
OrTrouble<void> PackedRing::push(const VirtChain& chain, std::uint32_t written) {
  const DmaAddr at = slot(next_used_.index);
  CBIT_TRY(store(at + offsetof(spec::PackedDesc, len), written, "writing a used length"));
  CBIT_TRY(store(at + offsetof(spec::PackedDesc, id), chain.head, "writing a buffer id"));
  const auto flags =
      static_cast<std::uint16_t>((next_used_.wrap ? spec::packed_flag::avail | spec::packed_flag::used : 0) |
                                 (written != 0 ? spec::vring_flag::write : 0));
  CBIT_TRY(store(at + offsetof(spec::PackedDesc, flags), flags, "writing used flags"));
  next_used_.advance(chain.descriptors, config_.size);
  pushed_ += chain.descriptors;
  return {};
}

OrTrouble<bool> PackedRing::finish() {
  if (features_.event_idx)
    CBIT_TRY(store(config_.used, spec::PackedEvent{next_avail_.off_wrap(), spec::packed_event::desc},
                   "writing the device's event suppression"));
  const auto event =
      CBIT_TRY(load<spec::PackedEvent>(config_.available, "reading the driver's event suppression"));
  const std::uint32_t pushed = std::exchange(pushed_, 0);
  switch (event.flags & spec::packed_event::mask) {
    case spec::packed_event::enable: return pushed != 0;
    case spec::packed_event::disable: return false;
    case spec::packed_event::desc: break;
    default: return trouble("reserved event suppression flags 3");
  }
  if (!features_.event_idx) return trouble("event suppression by descriptor without VIRTIO_F_EVENT_IDX");
  return spec::packed_need_event(event, next_used_, pushed, config_.size);
}

void PackedRing::transfer(StateStream& s) {
  for (spec::PackedPlace* const place : {&next_avail_, &next_used_}) {
    s.up_to(place->index, static_cast<std::uint16_t>(config_.size - 1));
    s(place->wrap);
  }
  s(pushed_);
}

}  // namespace cbit::dev
