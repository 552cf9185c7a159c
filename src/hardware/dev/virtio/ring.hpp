// The format of a virtqueue, as its device sees it: split_ring.hpp and packed_ring.hpp. Internal to the room.
//
// What the driver wrote is read once and checked; nothing that it could write is a Fault or an assertion.
#pragma once

#include "base/state_stream.hpp"
#include "dev/virtio/chain.hpp"
#include "spec/virtio.hpp"

namespace cbit::dev {

// What the driver tells the transport about a queue (2.7 and 2.8: descriptor, driver and device area).
struct VirtQueueConfig {
  std::uint32_t size = 0;
  DmaAddr descriptors;
  DmaAddr available;  // driver area
  DmaAddr used;       // device area

  void transfer(StateStream& s);
};

// The negotiated features that the format depends on.
struct VirtRingFeatures {
  bool indirect = false;
  bool event_idx = false;
  bool packed = false;
};

class VirtRing {
 public:
  virtual ~VirtRing() = default;

  // How many requests are certain to be available: split all of them, packed one or none.
  virtual OrTrouble<std::uint16_t> available() = 0;
  virtual OrTrouble<VirtChain> pop() = 0;
  virtual OrTrouble<void> push(const VirtChain& chain, std::uint32_t written) = 0;
  virtual OrTrouble<bool> finish() = 0;
  // How far the device is; the areas are the queue's.
  virtual void transfer(StateStream& s) = 0;

 protected:
  VirtRing(bus::DmaPort& port, const VirtQueueConfig& config, const VirtRingFeatures& features)
      : config_{config}, features_{features}, port_{&port} {}

  template <class T>
  OrTrouble<T> load(DmaAddr at, const char* what) {
    const auto value = port_->load<T>(at);
    if (!value) return dma_trouble(what, at, value.error());
    return *value;
  }
  template <class T>
  OrTrouble<void> store(DmaAddr at, const T& value, const char* what) {
    if (const auto done = port_->store(at, value); !done) return dma_trouble(what, at, done.error());
    return {};
  }

  // Adds a buffer to the chain. A chain is at most as long as the queue (2.7.5.3.1, 2.8.19), which also ends
  // loops, and at most 2^32 bytes (2.7.4).
  OrTrouble<void> append(VirtChain& chain, DmaAddr at, std::uint32_t length, bool device_writes) const;
  // How many descriptors an indirect table has: at most as many as the queue.
  OrTrouble<std::uint32_t> indirect_entries(DmaAddr at, std::uint32_t length) const;

  const VirtQueueConfig config_;
  const VirtRingFeatures features_;

 private:
  bus::DmaPort* port_;
};

// An area of a queue: aligned, and within the address space.
OrTrouble<void> check_area(const char* name, DmaAddr at, std::uint64_t alignment, std::uint64_t bytes);

}  // namespace cbit::dev
