#include "kernel/virtio/virtio_net_driver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/virtio/virtio_rng_driver.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::IsEmpty;

struct Nic {
  Nic(DmaBoard& board, const dev::VirtioNetOptions& options) : parent{board.add_device()} {
    hardware = std::move(*dev::VirtioNet::create(board.machine->bus(),
                                                 {.device = "eth", .requester = parent.requester}, options));
  }
  void probe(DmaBoard& board) {
    auto probed = VirtioNetDriver::probe(*board.kernel, *hardware, parent);
    ASSERT_TRUE(probed);
    driver = std::move(*probed);
  }
  Device& parent;
  std::unique_ptr<dev::VirtioNet> hardware;
  std::unique_ptr<VirtioNetDriver> driver;
};

class VirtioNetOn : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, VirtioNetOn, ::testing::ValuesIn(platforms));

TEST_P(VirtioNetOn, FramesCrossTheWireInBothDirectionsAndInOrder) {
  for (const bool packed : {false, true}) {
    DmaBoard board{GetParam(), small_pool, small_guest};
    const dev::VirtioNetOptions options{.virtio = {.packed = packed}, .queue_size = 8};
    Nic left{board, options};
    Nic right{board, options};
    left.hardware->connect(right.hardware.get());
    right.hardware->connect(left.hardware.get());
    left.probe(board);
    right.probe(board);
    for (std::uint64_t round = 0; round < 20; ++round) {
      const auto one = board.buffer(60 + round, round);
      const auto two = board.buffer(1514, round + 100);
      ASSERT_TRUE(left.driver->send(board.cpu(), one.at, static_cast<std::uint32_t>(one.bytes)));
      ASSERT_TRUE(left.driver->send(board.cpu(), two.at, 1514));
      ASSERT_TRUE(right.driver->send(board.cpu(), two.at, 1514));
      EXPECT_EQ(right.driver->receive(board.cpu()), board.seen(one));
      EXPECT_EQ(right.driver->receive(board.cpu()), board.seen(two));
      EXPECT_FALSE(right.driver->receive(board.cpu()));
      EXPECT_EQ(left.driver->receive(board.cpu()), board.seen(two));
    }
    EXPECT_EQ(left.hardware->dropped() + right.hardware->dropped(), 0u);
    EXPECT_THAT(board.complaints(), IsEmpty());
  }
}

TEST(VirtioNet, DropsWhatFindsNoBuffer) {
  DmaBoard board{Platform::sev, small_pool, small_guest};
  Nic nic{board, {.queue_size = 4}};
  nic.hardware->connect(nic.hardware.get());
  nic.probe(board);
  const auto frame = board.buffer(100, 1);
  for (unsigned i = 0; i < 6; ++i) ASSERT_TRUE(nic.driver->send(board.cpu(), frame.at, 100));
  EXPECT_EQ(nic.hardware->dropped(), 2u);
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(nic.driver->receive(board.cpu()), board.seen(frame));
  EXPECT_FALSE(nic.driver->receive(board.cpu()));
}

TEST(VirtioNet, RefusesWhatIsNoFrame) {
  DmaBoard board{Platform::sev, small_pool, small_guest};
  Nic nic{board, {}};
  nic.probe(board);
  const auto frame = board.buffer(2000, 1);
  EXPECT_EQ(nic.driver->send(board.cpu(), frame.at, 13).error(), Errno::einval);
  EXPECT_EQ(nic.driver->send(board.cpu(), frame.at, 1515).error(), Errno::einval);
  EXPECT_TRUE(nic.driver->send(board.cpu(), frame.at, 14)) << "nobody is at the other end";
  EXPECT_EQ(nic.hardware->dropped(), 1u);
}

TEST(VirtioNet, LeavesNoMappingBehind) {
  DmaBoard board{Platform::sev, small_pool, small_guest};
  Nic nic{board, {}};
  nic.probe(board);
  EXPECT_NE(board.slots_used(), 0u) << "receive buffers are mapped";
  nic.driver.reset();
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_EQ(board.dma().release(nic.parent), 0u);
}

TEST(VirtioRng, GivesTheSameEntropyForTheSameSeedOnEveryPlatform) {
  std::optional<Bytes> first;
  for (const Platform platform : platforms) {
    DmaBoard board{platform, small_pool, small_guest};
    Device& parent = board.add_device();
    auto hardware = std::move(*dev::VirtioRng::create(board.machine->bus(),
                                                      {.device = "rng", .requester = parent.requester},
                                                      {.virtio = {.packed = true}}));
    auto driver = VirtioRngDriver::probe(*board.kernel, *hardware, parent);
    ASSERT_TRUE(driver);
    const auto entropy = (*driver)->read(board.cpu(), 1000);
    ASSERT_TRUE(entropy);
    EXPECT_EQ(entropy->size(), 1000u);
    if (!first) first = *entropy;
    EXPECT_EQ(*entropy, *first);
  }
}

}  // namespace
}  // namespace cbit::kernel
