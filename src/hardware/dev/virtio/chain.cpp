#include "dev/virtio/chain.hpp"

#include <algorithm>
#include <numeric>

#include "base/format.hpp"

namespace cbit::dev {

std::uint64_t total_bytes(std::span<const VirtSegment> segments) {
  return std::accumulate(segments.begin(), segments.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const VirtSegment& s) { return sum + s.bytes; });
}

tl::unexpected<QueueTrouble> dma_trouble(const char* what, DmaAddr at, const Fault& fault) {
  return trouble(fmt::format("{} at {}: {}", what, at, to_string(fault.kind)));
}

std::uint64_t VirtChain::readable_bytes() const { return total_bytes(readable); }
std::uint64_t VirtChain::writable_bytes() const { return total_bytes(writable); }

std::vector<VirtSegment> sub_segments(std::span<const VirtSegment> segments, std::uint64_t offset,
                                      std::uint64_t bytes) {
  std::vector<VirtSegment> part;
  for (const VirtSegment& s : segments) {
    const std::uint64_t skip = std::min(offset, s.bytes);
    const std::uint64_t take = std::min(bytes, s.bytes - skip);
    offset -= skip;
    bytes -= take;
    if (take != 0) part.push_back({s.at + skip, take});
  }
  return part;
}

std::vector<VirtSegment> SegmentQueue::take(std::uint64_t room) {
  std::vector<VirtSegment> part;
  while (!left_.empty() && room != 0) {
    const VirtSegment& first = left_.front();
    const std::uint64_t bytes = first.bytes - taken_;
    if (bytes > room && !part.empty()) break;
    const std::uint64_t now = std::min(bytes, room);
    if (now != 0) part.push_back({first.at + taken_, now});
    room -= now;
    taken_ += now;
    if (taken_ != first.bytes) break;
    left_ = left_.subspan(1);
    taken_ = 0;
  }
  return part;
}

OrTrouble<void> read_segments(bus::DmaPort& port, std::span<const VirtSegment> from, ByteSpan to) {
  for (const VirtSegment& s : from) {
    if (to.empty()) break;
    const auto piece = to.first(std::min<std::uint64_t>(s.bytes, to.size()));
    if (const auto done = port.read(s.at, piece); !done)
      return dma_trouble("reading a buffer", s.at, done.error());
    to = to.subspan(piece.size());
  }
  return {};
}

OrTrouble<void> write_segments(bus::DmaPort& port, std::span<const VirtSegment> to, ConstByteSpan from) {
  for (const VirtSegment& s : to) {
    if (from.empty()) break;
    const auto piece = from.first(std::min<std::uint64_t>(s.bytes, from.size()));
    if (const auto done = port.write(s.at, piece); !done)
      return dma_trouble("writing a buffer", s.at, done.error());
    from = from.subspan(piece.size());
  }
  return {};
}

}  // namespace cbit::dev
