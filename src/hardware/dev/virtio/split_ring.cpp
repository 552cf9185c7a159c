#include "dev/virtio/split_ring.hpp"

#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {

// The descriptor table that a chain runs in: the queue's own, or an indirect one.
struct SplitRing::Table {
  DmaAddr at;
  std::uint32_t entries = 0;
  bool indirect = false;
};

OrTrouble<std::unique_ptr<VirtRing>> SplitRing::create(bus::DmaPort& port, const VirtQueueConfig& config,
                                                       const VirtRingFeatures& features) {
  if (!std::has_single_bit(config.size))
    return trouble(fmt::format("queue size {} is not a power of two", config.size));
  const spec::VringAreas areas{config.size};
  CBIT_TRY(check_area("descriptor table", config.descriptors, 16, areas.desc_bytes()));
  CBIT_TRY(check_area("available ring", config.available, 2, areas.avail_bytes()));
  CBIT_TRY(check_area("used ring", config.used, 4, areas.used_bytes()));
  return std::unique_ptr<VirtRing>{new SplitRing{port, config, features}};
}

OrTrouble<std::uint16_t> SplitRing::available() {
  const auto index =
      CBIT_TRY(load<std::uint16_t>(config_.available + spec::VringAreas::idx, "reading the available index"));
  const auto ahead = static_cast<std::uint16_t>(index - last_avail_);
  if (ahead > config_.size)
    return trouble(fmt::format("available index moved from {} to {} in a queue of {}", last_avail_, index,
                               config_.size));
  return ahead;
}

OrTrouble<VirtChain> SplitRing::pop() {
  const auto slot = config_.available + spec::VringAreas::avail_ring(last_avail_ & (config_.size - 1));
  const auto head = CBIT_TRY(load<std::uint16_t>(slot, "reading the available ring"));
  if (head >= config_.size)
    return trouble(fmt::format("head {} is outside the queue of {}", head, config_.size));

  VirtChain chain{.head = head};
  Table table{config_.descriptors, config_.size, false};
  for (std::uint16_t index = head;;) {
    const auto desc =
        CBIT_TRY(load<spec::VringDesc>(table.at + spec::VringAreas::desc(index), "reading a descriptor"));
    if ((desc.flags & spec::vring_flag::indirect) != 0) {
      table = CBIT_TRY(enter_indirect(table, desc));
      index = 0;
      continue;
    }
    CBIT_TRY(append(chain, DmaAddr{desc.addr}, desc.len, (desc.flags & spec::vring_flag::write) != 0));
    if ((desc.flags & spec::vring_flag::next) == 0) break;
    if (desc.next >= table.entries)
      return trouble(
          fmt::format("descriptor {} continues at {} in a table of {}", index, desc.next, table.entries));
    index = desc.next;
  }
  ++last_avail_;
  return chain;
}

// 2.7.5.3.2: a chain may end with one descriptor that refers to a table, whose entries continue it.
OrTrouble<SplitRing::Table> SplitRing::enter_indirect(const Table& from, const spec::VringDesc& desc) const {
  if (from.indirect) return trouble("indirect descriptor in an indirect table");
  if ((desc.flags & spec::vring_flag::next) != 0) return trouble("descriptor with both NEXT and INDIRECT");
  const DmaAddr at{desc.addr};
  return Table{at, CBIT_TRY(indirect_entries(at, desc.len)), true};
}

OrTrouble<void> SplitRing::push(const VirtChain& chain, std::uint32_t written) {
  const auto slot = config_.used + spec::VringAreas::used_ring(used_ & (config_.size - 1));
  CBIT_TRY(store(slot, spec::VringUsedElem{chain.head, written}, "writing the used ring"));
  ++used_;
  return store(config_.used + spec::VringAreas::idx, used_, "writing the used index");
}

OrTrouble<bool> SplitRing::finish() {
  const spec::VringAreas areas{config_.size};
  const auto before = std::exchange(signalled_, used_);
  if (!features_.event_idx) {
    const auto flags =
        CBIT_TRY(load<std::uint16_t>(config_.available + spec::VringAreas::flags, "reading available flags"));
    return before != used_ && (flags & spec::vring_flag::avail_no_interrupt) == 0;
  }
  CBIT_TRY(store(config_.used + areas.avail_event(), last_avail_, "writing the available event"));
  const auto event =
      CBIT_TRY(load<std::uint16_t>(config_.available + areas.used_event(), "reading the used event"));
  return spec::vring_need_event(event, used_, before);
}

}  // namespace cbit::dev
