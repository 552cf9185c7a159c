#include <gtest/gtest.h>

#include "dev/virtio/chain.hpp"

namespace cbit::dev {
namespace {

using Part = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Part taken(SegmentQueue& queue, std::uint64_t room) {
  Part part;
  for (const VirtSegment& segment : queue.take(room)) part.emplace_back(segment.at.value(), segment.bytes);
  return part;
}

TEST(SegmentQueue, TakesWholeSegmentsAndSplitsOnlyWhatIsLargerThanTheRoom) {
  const std::vector<VirtSegment> segments{{DmaAddr{0x1000}, 512},
                                          {DmaAddr{0x3000}, 0},
                                          {DmaAddr{0x5000}, 3000},
                                          {DmaAddr{0x10000}, 10000},
                                          {DmaAddr{0x20000}, 96}};
  SegmentQueue queue{segments};
  EXPECT_EQ(taken(queue, 4096), (Part{{0x1000, 512}, {0x5000, 3000}}));
  EXPECT_EQ(taken(queue, 4096), (Part{{0x10000, 4096}}));
  EXPECT_EQ(taken(queue, 4096), (Part{{0x11000, 4096}}));
  EXPECT_EQ(taken(queue, 4096), (Part{{0x12000, 1808}, {0x20000, 96}}));
  EXPECT_EQ(taken(queue, 4096), Part{});
}

TEST(SegmentQueue, OfEmptySegmentsIsEmpty) {
  const std::vector<VirtSegment> segments{{DmaAddr{0x1000}, 0}, {DmaAddr{0x2000}, 0}};
  SegmentQueue queue{segments};
  EXPECT_EQ(taken(queue, 1), Part{});
}

}  // namespace
}  // namespace cbit::dev
