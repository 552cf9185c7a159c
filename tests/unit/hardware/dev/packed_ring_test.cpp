#include "dev/virtio/packed_ring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dev/virtio/queue.hpp"
#include "virtio_board.hpp"

namespace cbit::dev {
namespace {

using ::testing::HasSubstr;

constexpr std::uint16_t size = 6;  // no power of two: a packed ring does not need one
constexpr std::uint64_t ring_at = 0x10000;
constexpr std::uint64_t driver_at = 0x11000;
constexpr std::uint64_t device_at = 0x12000;
constexpr std::uint64_t table_at = 0x40000;
constexpr std::uint64_t data_at = 0x50000;

// The driver's end, written by hand: place and wrap counter are kept, nothing is checked.
class PackedRingTest : public ::testing::Test {
 protected:
  void SetUp() override { enable({.indirect = true, .event_idx = true, .packed = true}); }

  void enable(const VirtRingFeatures& features) { ASSERT_TRUE(queue.enable(config, features)); }
  [[nodiscard]] std::uint64_t slot(std::uint16_t i) const { return ring_at + i * sizeof(spec::PackedDesc); }

  // Writes one descriptor at the driver's place, available unless `flags` says more.
  void offer(std::uint16_t id, std::uint16_t flags = 0, std::uint64_t addr = data_at,
             std::uint32_t len = 64) {
    const auto turn = driver.wrap ? spec::packed_flag::avail : spec::packed_flag::used;
    board.put(slot(driver.index), spec::PackedDesc{addr, len, id, static_cast<std::uint16_t>(flags | turn)});
    driver.advance(1, size);
  }
  VirtChain pop() {
    const auto chain = queue.pop();
    EXPECT_TRUE(chain) << chain.error().reason;
    return chain.value_or(VirtChain{});
  }
  std::string refusal() {
    const auto chain = queue.pop();
    return chain ? "" : chain.error().reason;
  }
  void expect_used(std::uint16_t place, std::uint16_t id, std::uint32_t length, bool wrap) {
    const auto desc = board.get<spec::PackedDesc>(slot(place));
    EXPECT_EQ(desc.id, id);
    EXPECT_EQ(desc.len, length);
    EXPECT_EQ((desc.flags & spec::packed_flag::avail) != 0, wrap);
    EXPECT_EQ((desc.flags & spec::packed_flag::used) != 0, wrap);
  }

  VirtioBoard board;
  bus::DmaPort port{board.bus, {.device = "disk", .requester = 8}};
  VirtQueueConfig config{size, DmaAddr{ring_at}, DmaAddr{driver_at}, DmaAddr{device_at}};
  VirtQueue queue{port, 8};
  spec::PackedPlace driver;
};

TEST_F(PackedRingTest, NothingIsAvailableInAFreshRing) { EXPECT_EQ(queue.available().value(), 0); }

TEST_F(PackedRingTest, PopsAListOfConsecutivePlacesUnderTheIdOfItsLastDescriptor) {
  offer(0, spec::vring_flag::next, data_at, 16);
  offer(0, spec::vring_flag::next | spec::vring_flag::write, data_at + 0x1000, 512);
  offer(5, spec::vring_flag::write, data_at + 0x2000, 1);
  EXPECT_EQ(queue.available().value(), 1);
  const VirtChain chain = pop();
  EXPECT_EQ(chain.head, 5);
  EXPECT_EQ(chain.descriptors, 3u);
  ASSERT_EQ(chain.readable.size(), 1u);
  EXPECT_EQ(chain.readable[0].at, DmaAddr{data_at});
  EXPECT_EQ(chain.writable_bytes(), 513u);
  EXPECT_EQ(queue.available().value(), 0);
}

TEST_F(PackedRingTest, UsedDescriptorOverwritesTheFirstPlaceAndSkipsTheOthers) {
  offer(3, spec::vring_flag::next);
  offer(3, spec::vring_flag::write);
  offer(4, spec::vring_flag::write);
  const VirtChain first = pop();
  ASSERT_TRUE(queue.push(first, 7));
  expect_used(0, 3, 7, true);
  EXPECT_NE(board.get<spec::PackedDesc>(slot(0)).flags & spec::vring_flag::write, 0)
      << "something was written";
  ASSERT_TRUE(queue.push(pop(), 0));
  expect_used(2, 4, 0, true);
  EXPECT_EQ(board.get<spec::PackedDesc>(slot(2)).flags & spec::vring_flag::write, 0);
}

TEST_F(PackedRingTest, WrapCountersTurnWhereAListCrossesTheEnd) {
  for (unsigned round = 0; round < 40; ++round) {
    const auto id = static_cast<std::uint16_t>(round % size);
    const spec::PackedPlace head = driver;
    offer(id, spec::vring_flag::next);
    offer(id, spec::vring_flag::next);
    EXPECT_TRUE(queue.available().value());
    offer(id, spec::vring_flag::next);
    offer(id, spec::vring_flag::write);
    const VirtChain chain = pop();
    EXPECT_EQ(chain.descriptors, 4u);
    EXPECT_EQ(queue.available().value(), 0) << "what was used a round ago is not available";
    ASSERT_TRUE(queue.push(chain, round));
    expect_used(head.index, id, round, head.wrap);
  }
}

TEST_F(PackedRingTest, IndirectTableIsTheListAndOnlyItsWriteFlagCounts) {
  board.put(table_at, spec::PackedDesc{data_at, 16, 9, spec::vring_flag::indirect});
  board.put(table_at + 16,
            spec::PackedDesc{data_at + 0x1000, 32, 9, spec::vring_flag::write | spec::vring_flag::next});
  offer(2, spec::vring_flag::indirect, table_at, 32);
  const VirtChain chain = pop();
  EXPECT_EQ(chain.head, 2);
  EXPECT_EQ(chain.descriptors, 1u);
  EXPECT_EQ(chain.readable_bytes(), 16u);
  EXPECT_EQ(chain.writable_bytes(), 32u);
}

TEST_F(PackedRingTest, RefusesWhatTheFormatForbids) {
  offer(0, spec::vring_flag::indirect | spec::vring_flag::next, table_at, 32);
  EXPECT_THAT(refusal(), HasSubstr("indirect descriptor in a descriptor list"));
}

TEST_F(PackedRingTest, RefusesAnIndirectDescriptorBehindTheHead) {
  offer(0, spec::vring_flag::next);
  offer(0, spec::vring_flag::indirect, table_at, 32);
  EXPECT_THAT(refusal(), HasSubstr("indirect descriptor in a descriptor list"));
}

TEST_F(PackedRingTest, RefusesAListThatNeverEnds) {
  for (unsigned i = 0; i < size; ++i) offer(0, spec::vring_flag::next);
  EXPECT_THAT(refusal(), HasSubstr("longer than the queue of 6"));
}

TEST_F(PackedRingTest, RefusesTablesOfBadSize) {
  for (const std::uint32_t length : {0u, 8u, 17u, 7u * 16u}) {
    queue.reset();
    enable({.indirect = true, .packed = true});
    board.put(slot(0),
              spec::PackedDesc{table_at, length, 0, spec::vring_flag::indirect | spec::packed_flag::avail});
    EXPECT_THAT(refusal(), HasSubstr("indirect table of")) << length;
  }
}

TEST_F(PackedRingTest, RefusesAReadableBufferAfterAWritableOneAndEmptyOnes) {
  offer(0, spec::vring_flag::next | spec::vring_flag::write);
  offer(0);
  EXPECT_THAT(refusal(), HasSubstr("device-readable descriptor after"));
  queue.reset();
  enable({.packed = true});
  board.put(slot(0), spec::PackedDesc{data_at, 0, 0, spec::packed_flag::avail});
  EXPECT_THAT(refusal(), HasSubstr("zero bytes"));
}

TEST_F(PackedRingTest, WithoutEventIndexTheDriverSaysYesOrNo) {
  enable({.packed = true});
  driver = {};
  for (const auto& [flags, wanted] :
       {std::pair{spec::packed_event::enable, true}, {spec::packed_event::disable, false}}) {
    board.put(driver_at, spec::PackedEvent{0, flags});
    offer(0);
    ASSERT_TRUE(queue.push(pop(), 0));
    EXPECT_EQ(queue.finish().value(), wanted);
    EXPECT_FALSE(queue.finish().value()) << "nothing was pushed";
  }
  for (const std::uint16_t flags : {spec::packed_event::desc, spec::packed_event::mask}) {
    board.put(driver_at, spec::PackedEvent{0, flags});
    EXPECT_FALSE(queue.finish()) << flags;
  }
}

TEST_F(PackedRingTest, InterruptsOnceThePlaceThatTheDriverNamedIsPassed) {
  // The driver waits for place 1 of this round.
  board.put(driver_at, spec::PackedEvent{1 | 1u << 15, spec::packed_event::desc});
  for (std::uint16_t i = 0; i < 2 * size; ++i) {
    offer(i % size);
    ASSERT_TRUE(queue.push(pop(), 0));
    EXPECT_EQ(queue.finish().value(), i == 1) << i;
  }
}

TEST_F(PackedRingTest, InterruptsWhenThePlaceOfTheNextRoundIsPassed) {
  board.put(driver_at, spec::PackedEvent{1, spec::packed_event::desc});  // wrap counter 0
  for (std::uint16_t i = 0; i < 2 * size; ++i) {
    offer(i % size);
    ASSERT_TRUE(queue.push(pop(), 0));
    EXPECT_EQ(queue.finish().value(), i == size + 1) << i;
  }
}

TEST_F(PackedRingTest, AsksForTheNotificationOfTheNextPlace) {
  for (unsigned i = 0; i < size; ++i) {
    offer(0);
    ASSERT_TRUE(queue.push(pop(), 0));
  }
  ASSERT_TRUE(queue.finish());
  const auto event = board.get<spec::PackedEvent>(device_at);
  EXPECT_EQ(event.flags, spec::packed_event::desc);
  EXPECT_EQ(event.off_wrap, 0) << "place 0 of the round with wrap counter 0";
}

TEST_F(PackedRingTest, RefusesAreasThatAreNotAligned) {
  for (DmaAddr VirtQueueConfig::* const area :
       {&VirtQueueConfig::descriptors, &VirtQueueConfig::available, &VirtQueueConfig::used}) {
    VirtQueueConfig bad = config;
    bad.*area += 2;
    EXPECT_FALSE(queue.enable(bad, {.packed = true}));
  }
  VirtQueueConfig end = config;
  end.descriptors = DmaAddr{~std::uint64_t{15}};
  EXPECT_FALSE(queue.enable(end, {.packed = true}));
}

TEST_F(PackedRingTest, ARingThatCannotBeReadIsTrouble) {
  config.descriptors = DmaAddr{VirtioBoard::ram_bytes};
  enable({.packed = true});
  EXPECT_FALSE(queue.available());
}

}  // namespace
}  // namespace cbit::dev
