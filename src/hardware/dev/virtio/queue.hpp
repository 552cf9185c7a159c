// The device's side of a virtqueue, split or packed as negotiated. VIRTIO 1.2, 2.7 and 2.8.
//
// The driver is not trusted: whatever it writes into descriptors and rings, the outcome is a request or a
// QueueTrouble, after an amount of work that the queue size bounds. The caller stops the device on trouble.
//
// Addresses are DmaAddr and go through the device's DmaPort, so the ring itself is subject to IOMMU and
// encryption. Threading: the driver does not touch the rings during a call.
#pragma once

#include <cstdint>
#include <memory>

#include "dev/forger.hpp"
#include "dev/virtio/ring.hpp"

namespace cbit::dev {

class VirtQueue {
 public:
  VirtQueue(bus::DmaPort& port, std::uint16_t size_max) : port_{&port}, size_max_{size_max} {}

  // Trouble: size zero or above the maximum, and what the ring's format demands of size and areas.
  OrTrouble<void> enable(const VirtQueueConfig& config, const VirtRingFeatures& features);
  void reset();
  // `features`: those that it was enabled with.
  void transfer(StateStream& s, const VirtRingFeatures& features);

  [[nodiscard]] bool enabled() const { return ring_ != nullptr; }
  [[nodiscard]] std::uint16_t size_max() const { return size_max_; }
  [[nodiscard]] const VirtQueueConfig& config() const { return config_; }

  // How many requests are certain to be available: in a split ring all of them, in a packed one the next. The
  // queue is enabled, as for all that follows.
  OrTrouble<std::uint16_t> available() { return ring_->available(); }
  // The next of them; call at most available() times.
  OrTrouble<VirtChain> pop() { return ring_->pop(); }
  // Returns a request to the driver; `written` bytes of its writable part, from the start, are valid. In the
  // order of pop().
  OrTrouble<void> push(const VirtChain& chain, std::uint32_t written);
  // Stands between push() and the ring; nullptr: nobody does. It outlives the queue, or is taken away.
  void set_forger(Forger* forger) { forger_ = forger; }
  // Ends a series of pops and pushes: asks for the next notification and says whether the driver wants an
  // interrupt for what was pushed since the last call.
  OrTrouble<bool> finish() { return ring_->finish(); }

 private:
  bus::DmaPort* port_;
  std::uint16_t size_max_;
  VirtQueueConfig config_;
  std::unique_ptr<VirtRing> ring_;  // nullptr: not enabled
  Forger* forger_ = nullptr;
};

}  // namespace cbit::dev
