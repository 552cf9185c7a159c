// The device's side of a split virtqueue. VIRTIO 1.2, 2.7.
//
// The driver is not trusted: whatever it writes into descriptors and rings, the outcome is a request or a
// QueueTrouble, after an amount of work that the queue size bounds. The caller stops the device on trouble.
//
// Addresses are DmaAddr and go through the device's DmaPort, so the ring itself is subject to IOMMU and
// encryption. Threading: the driver does not touch the rings during a call.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "bus/dma_port.hpp"
#include "dev/virtio_defs.hpp"

namespace cbit {

// Why a queue cannot go on, in words.
struct QueueTrouble {
  std::string reason;
};

template <class T>
using OrTrouble = Result<T, QueueTrouble>;

[[nodiscard]] inline tl::unexpected<QueueTrouble> trouble(std::string reason) {
  return tl::unexpected{QueueTrouble{std::move(reason)}};
}

struct VirtSegment {
  DmaAddr at;
  std::uint64_t bytes = 0;
};

// One request: what the device may read, then what it may write.
struct VirtChain {
  std::uint16_t head = 0;
  std::vector<VirtSegment> readable;
  std::vector<VirtSegment> writable;

  [[nodiscard]] std::uint64_t readable_bytes() const;
  [[nodiscard]] std::uint64_t writable_bytes() const;
};

// The part [offset, offset + bytes) of a list of segments; shorter where the list ends.
[[nodiscard]] std::vector<VirtSegment> sub_segments(std::span<const VirtSegment> segments,
                                                    std::uint64_t offset, std::uint64_t bytes);
// Moves as many bytes as the list has room for.
OrTrouble<void> read_segments(DmaPort& port, std::span<const VirtSegment> from, ByteSpan to);
OrTrouble<void> write_segments(DmaPort& port, std::span<const VirtSegment> to, ConstByteSpan from);

// What the driver tells the transport about a queue (2.7: descriptor area, driver area, device area).
struct VirtQueueConfig {
  std::uint32_t size = 0;
  DmaAddr descriptors;
  DmaAddr available;
  DmaAddr used;
};

class VirtQueue {
 public:
  VirtQueue(DmaPort& port, std::uint16_t size_max) : port_{&port}, size_max_{size_max} {}

  // Trouble: size zero, above the maximum or no power of two; an area not aligned (2.7: 16, 2 and 4 bytes) or
  // beyond the end of the address space.
  OrTrouble<void> enable(const VirtQueueConfig& config, bool indirect, bool event_idx);
  void reset();

  [[nodiscard]] bool enabled() const { return enabled_; }
  [[nodiscard]] std::uint16_t size_max() const { return size_max_; }
  [[nodiscard]] const VirtQueueConfig& config() const { return config_; }

  // How many requests the driver has made available that were not popped yet.
  OrTrouble<std::uint16_t> available();
  // The next of them; call at most available() times.
  OrTrouble<VirtChain> pop();
  // Returns a request to the driver; `written` bytes of its writable part, from the start, are valid.
  OrTrouble<void> push(std::uint16_t head, std::uint32_t written);
  // Ends a series of pops and pushes: asks for the next notification and says whether the driver wants an
  // interrupt for what was pushed since the last call.
  OrTrouble<bool> finish();

 private:
  struct Table;

  template <class T>
  OrTrouble<T> load(DmaAddr at, const char* what);
  template <class T>
  OrTrouble<void> store(DmaAddr at, const T& value, const char* what);
  OrTrouble<Table> enter_indirect(const Table& from, const VringDesc& desc) const;
  OrTrouble<void> append(VirtChain& chain, const VringDesc& desc, std::uint64_t& bytes) const;

  DmaPort* port_;
  std::uint16_t size_max_;
  VirtQueueConfig config_;
  bool enabled_ = false;
  bool indirect_ = false;
  bool event_idx_ = false;
  std::uint16_t last_avail_ = 0;
  std::uint16_t used_ = 0;
  std::uint16_t signalled_ = 0;  // used_ when finish() was called last
};

}  // namespace cbit
