// What a request in a virtqueue comes down to, split or packed: segments of memory that the device may
// read, and others that it may write. And what is said when a queue cannot go on.
//
// Addresses are DmaAddr and go through the device's DmaPort. Threading: as DmaPort.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "bus/dma_port.hpp"

namespace cbit::dev {

// Why a queue cannot go on, in words.
struct QueueTrouble {
  std::string reason;
};

template <class T>
using OrTrouble = Result<T, QueueTrouble>;

[[nodiscard]] inline tl::unexpected<QueueTrouble> trouble(std::string reason) {
  return tl::unexpected{QueueTrouble{std::move(reason)}};
}
// "reading a descriptor at D:0x1000: no memory".
[[nodiscard]] tl::unexpected<QueueTrouble> dma_trouble(const char* what, DmaAddr at, const Fault& fault);

struct VirtSegment {
  DmaAddr at;
  std::uint64_t bytes = 0;
};

// One request: what the device may read, then what it may write.
struct VirtChain {
  std::uint16_t head = 0;         // split: index of the first descriptor; packed: buffer id
  std::uint32_t descriptors = 1;  // places that it takes in a packed ring
  std::uint64_t bytes = 0;        // of all segments
  std::vector<VirtSegment> readable;
  std::vector<VirtSegment> writable;

  [[nodiscard]] std::uint64_t readable_bytes() const;
  [[nodiscard]] std::uint64_t writable_bytes() const;
};

[[nodiscard]] std::uint64_t total_bytes(std::span<const VirtSegment> segments);
// The part [offset, offset + bytes) of a list of segments; shorter where the list ends.
[[nodiscard]] std::vector<VirtSegment> sub_segments(std::span<const VirtSegment> segments,
                                                    std::uint64_t offset, std::uint64_t bytes);
// A list of segments, taken from its front; it outlives this.
class SegmentQueue {
 public:
  explicit SegmentQueue(std::span<const VirtSegment> segments) : left_{segments} {}
  // As many whole segments as hold no more than `room` bytes together, or a part of one that holds more.
  // Empty: all have been taken. room > 0.
  [[nodiscard]] std::vector<VirtSegment> take(std::uint64_t room);

 private:
  std::span<const VirtSegment> left_;
  std::uint64_t taken_ = 0;  // of the first
};

// Moves as many bytes as the list has room for.
OrTrouble<void> read_segments(bus::DmaPort& port, std::span<const VirtSegment> from, ByteSpan to);
OrTrouble<void> write_segments(bus::DmaPort& port, std::span<const VirtSegment> to, ConstByteSpan from);

}  // namespace cbit::dev
