#include "dev/virtio/queue.hpp"

#include "base/format.hpp"
#include "dev/virtio/packed_ring.hpp"
#include "dev/virtio/split_ring.hpp"

namespace cbit::dev {

OrTrouble<void> VirtQueue::enable(const VirtQueueConfig& config, const VirtRingFeatures& features) {
  if (config.size == 0 || config.size > size_max_)
    return trouble(fmt::format("queue size {} is not within 1 to {}", config.size, size_max_));
  ring_ = CBIT_TRY(features.packed ? PackedRing::create(*port_, config, features)
                                   : SplitRing::create(*port_, config, features));
  config_ = config;
  return {};
}

OrTrouble<void> VirtQueue::push(const VirtChain& chain, std::uint32_t written) {
  if (forger_ == nullptr) return ring_->push(chain, written);
  Returned told{chain.head, written};
  const bool twice = forger_->forge(told);
  VirtChain forged = chain;
  forged.head = told.id;
  CBIT_TRY(ring_->push(forged, told.length));
  return twice ? ring_->push(forged, told.length) : OrTrouble<void>{};
}

void VirtQueue::reset() {
  ring_.reset();
  config_ = {};
}

void VirtQueue::transfer(StateStream& s, const VirtRingFeatures& features) {
  bool is_enabled = enabled();
  VirtQueueConfig config = config_;
  s(is_enabled, config);
  if (!s.good()) return;
  if (s.loads()) {
    reset();
    if (is_enabled) s.require(enable(config, features).has_value(), "a queue is none that can be");
  }
  if (enabled()) s(*ring_);
}

}  // namespace cbit::dev
