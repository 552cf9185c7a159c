#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dev/virtio/queue.hpp"
#include "unit/hardware/dev/liar.hpp"
#include "virtio_board.hpp"

namespace cbit::dev {
namespace {

using ::testing::HasSubstr;

constexpr std::uint16_t size = 8;
constexpr std::uint64_t table_at = 0x40000;  // indirect tables
constexpr std::uint64_t data_at = 0x50000;

class VirtQueueTest : public ::testing::Test {
 protected:
  void SetUp() override { enable(true, true); }

  void enable(bool indirect, bool event_idx) {
    ASSERT_TRUE(queue.enable(ring.config(), {.indirect = indirect, .event_idx = event_idx}));
  }
  void offer_one(std::uint16_t head = 0) {
    ring.offer(head);
    ring.publish();
  }
  // What pop() refuses the chain with.
  std::string refusal() {
    offer_one();
    const auto chain = queue.pop();
    return chain ? "" : chain.error().reason;
  }

  VirtioBoard board;
  bus::DmaPort port{board.bus, {.device = "disk", .requester = 8}};
  RawRing ring{board, size};
  VirtQueue queue{port, size};
};

TEST_F(VirtQueueTest, PopsAChainInTheOrderOfItsDescriptors) {
  ring.desc(3, {data_at, 16, spec::vring_flag::next, 5});
  ring.desc(5, {data_at + 0x100, 512, spec::vring_flag::next, 1});
  ring.desc(1, {data_at + 0x1000, 1024, spec::vring_flag::next | spec::vring_flag::write, 7});
  ring.desc(7, {data_at + 0x2000, 1, spec::vring_flag::write, 0});
  offer_one(3);

  EXPECT_EQ(queue.available().value(), 1);
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << chain.error().reason;
  EXPECT_EQ(chain->head, 3);
  ASSERT_EQ(chain->readable.size(), 2u);
  EXPECT_EQ(chain->readable[1].at, DmaAddr{data_at + 0x100});
  EXPECT_EQ(chain->readable_bytes(), 528u);
  ASSERT_EQ(chain->writable.size(), 2u);
  EXPECT_EQ(chain->writable[0].at, DmaAddr{data_at + 0x1000});
  EXPECT_EQ(chain->writable_bytes(), 1025u);
  EXPECT_EQ(queue.available().value(), 0);
}

TEST_F(VirtQueueTest, FollowsAnIndirectTable) {
  board.put(table_at, spec::VringDesc{data_at, 16, spec::vring_flag::next, 2});
  board.put(table_at + 32, spec::VringDesc{data_at + 512, 1, spec::vring_flag::write, 0});
  ring.desc(0, {table_at, 48, spec::vring_flag::indirect, 0});
  offer_one();
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << chain.error().reason;
  EXPECT_EQ(chain->readable.size(), 1u);
  EXPECT_EQ(chain->writable.size(), 1u);
}

TEST_F(VirtQueueTest, FollowsAnIndirectTableAfterDirectDescriptors) {
  board.put(table_at, spec::VringDesc{data_at + 512, 1, spec::vring_flag::write, 0});
  ring.desc(0, {data_at, 16, spec::vring_flag::next, 4});
  ring.desc(4, {table_at, 16, spec::vring_flag::indirect, 0});
  offer_one();
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << chain.error().reason;
  EXPECT_EQ(chain->readable_bytes(), 16u);
  EXPECT_EQ(chain->writable_bytes(), 1u);
}

TEST_F(VirtQueueTest, IgnoresTheWriteFlagOfAnIndirectDescriptor) {
  board.put(table_at, spec::VringDesc{data_at, 16, 0, 0});
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect | spec::vring_flag::write, 0});
  offer_one();
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << chain.error().reason;
  EXPECT_EQ(chain->readable.size(), 1u);
  EXPECT_TRUE(chain->writable.empty());
}

TEST_F(VirtQueueTest, TakesAChainAsLongAsTheQueue) {
  for (std::uint16_t i = 0; i < size; ++i) {
    const bool last = i == size - 1;
    ring.desc(
        i, {data_at, 1, last ? std::uint16_t{0} : spec::vring_flag::next, static_cast<std::uint16_t>(i + 1)});
  }
  offer_one();
  const auto chain = queue.pop();
  ASSERT_TRUE(chain) << chain.error().reason;
  EXPECT_EQ(chain->readable.size(), size);
}

// ---- a device that lies ----

TEST_F(VirtQueueTest, TellsTheDriverWhatAForgerWants) {
  ring.desc(0, {data_at, 16, 0, 0});
  Liar liar{{0x1234, 0xffff'ffff}};
  queue.set_forger(&liar);
  for (const bool twice : {false, true}) {
    liar.twice = twice;
    offer_one();
    ASSERT_TRUE(queue.push(*queue.pop(), 0));
  }
  const auto idx = board.get<std::uint16_t>(ring.used() + spec::VringAreas::idx);
  EXPECT_EQ(idx, 3) << "one, and one twice";
  for (std::uint16_t slot = 0; slot < idx; ++slot) {
    const auto told = board.get<spec::VringUsedElem>(ring.used() + spec::VringAreas::used_ring(slot));
    EXPECT_EQ(told.id, 0x1234u);
    EXPECT_EQ(told.len, 0xffff'ffffu);
  }
  queue.set_forger(nullptr);
  offer_one();
  ASSERT_TRUE(queue.push(*queue.pop(), 7));
  const auto honest = board.get<spec::VringUsedElem>(ring.used() + spec::VringAreas::used_ring(3));
  EXPECT_EQ(honest.len, 7u);
}

// ---- what a hostile driver may write ----

TEST_F(VirtQueueTest, RefusesALoopOfDescriptors) {
  ring.desc(0, {data_at, 1, spec::vring_flag::next, 1});
  ring.desc(1, {data_at, 1, spec::vring_flag::next, 0});
  EXPECT_THAT(refusal(), HasSubstr("loops"));
}

TEST_F(VirtQueueTest, RefusesALoopInAnIndirectTable) {
  board.put(table_at, spec::VringDesc{data_at, 1, spec::vring_flag::next, 0});
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("loops"));
}

TEST_F(VirtQueueTest, RefusesAContinuationOutsideTheTable) {
  ring.desc(0, {data_at, 1, spec::vring_flag::next, size});
  EXPECT_THAT(refusal(), HasSubstr("continues at 8 in a table of 8"));
}

TEST_F(VirtQueueTest, RefusesAContinuationOutsideAnIndirectTable) {
  board.put(table_at, spec::VringDesc{data_at, 1, spec::vring_flag::next, 1});
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("continues at 1 in a table of 1"));
}

TEST_F(VirtQueueTest, RefusesAHeadOutsideTheQueue) {
  offer_one(size);
  const auto chain = queue.pop();
  ASSERT_FALSE(chain);
  EXPECT_THAT(chain.error().reason, HasSubstr("head 8"));
}

TEST_F(VirtQueueTest, RefusesAnIndirectDescriptorInAnIndirectTable) {
  board.put(table_at, spec::VringDesc{table_at, 16, spec::vring_flag::indirect, 0});
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("indirect descriptor in an indirect table"));
}

TEST_F(VirtQueueTest, RefusesNextTogetherWithIndirect) {
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect | spec::vring_flag::next, 1});
  EXPECT_THAT(refusal(), HasSubstr("both NEXT and INDIRECT"));
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableOfAWrongSize) {
  for (const std::uint32_t bytes : {0u, 15u, 17u, 0xffff'ffffu}) {
    ring.desc(0, {table_at, bytes, spec::vring_flag::indirect, 0});
    EXPECT_THAT(refusal(), HasSubstr("indirect table of " + std::to_string(bytes) + " bytes"));
  }
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableLongerThanTheQueue) {
  ring.desc(0, {table_at, 16 * (size + 1), spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("indirect table of 9 descriptors"));
}

TEST_F(VirtQueueTest, RefusesIndirectDescriptorsThatWereNotNegotiated) {
  enable(false, true);
  ring.desc(0, {table_at, 16, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("without VIRTIO_F_INDIRECT_DESC"));
}

TEST_F(VirtQueueTest, RefusesAReadableDescriptorAfterAWritableOne) {
  ring.desc(0, {data_at, 1, spec::vring_flag::next | spec::vring_flag::write, 1});
  ring.desc(1, {data_at, 1, 0, 0});
  EXPECT_THAT(refusal(), HasSubstr("device-readable descriptor after"));
}

TEST_F(VirtQueueTest, RefusesBuffersThatLeaveTheAddressSpace) {
  ring.desc(0, {~std::uint64_t{0}, 2, 0, 0});
  EXPECT_THAT(refusal(), HasSubstr("beyond the address space"));
  ring.desc(0, {~std::uint64_t{0} - 14, 16 * 2, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("beyond the address space"));
}

TEST_F(VirtQueueTest, RefusesAnEmptyBuffer) {
  ring.desc(0, {data_at, 0, 0, 0});
  EXPECT_THAT(refusal(), HasSubstr("zero bytes"));
}

TEST_F(VirtQueueTest, RefusesAChainOfMoreThanFourGigabytes) {
  ring.desc(0, {0, 0x8000'0000, spec::vring_flag::next, 1});
  ring.desc(1, {0, 0x8000'0000, spec::vring_flag::next, 2});
  ring.desc(2, {0, 1, 0, 0});
  EXPECT_THAT(refusal(), HasSubstr("more than 2^32 bytes"));
}

TEST_F(VirtQueueTest, RefusesAnIndirectTableOutsideMemory) {
  ring.desc(0, {VirtioBoard::ram_bytes, 16, spec::vring_flag::indirect, 0});
  EXPECT_THAT(refusal(), HasSubstr("no memory at this address"));
}

TEST_F(VirtQueueTest, RefusesAnIndexThatJumpsFurtherThanTheQueueIsLong) {
  ring.publish(size);
  EXPECT_EQ(queue.available().value(), size);
  ring.publish(size + 1);
  ASSERT_FALSE(queue.available());
  EXPECT_THAT(queue.available().error().reason, HasSubstr("moved from 0 to 9"));
}

TEST_F(VirtQueueTest, RefusesConfigurationsThatTheSpecificationForbids) {
  const VirtQueueConfig good = ring.config();
  for (const std::uint32_t bad : {0u, 3u, 6u, 16u, 0x8000'0000u}) {
    VirtQueueConfig config = good;
    config.size = bad;
    EXPECT_FALSE(queue.enable(config, {.indirect = true, .event_idx = true})) << bad;
  }
  VirtQueueConfig config = good;
  config.descriptors += 8;
  EXPECT_FALSE(queue.enable(config, {.indirect = true, .event_idx = true}));
  config = good;
  config.available += 1;
  EXPECT_FALSE(queue.enable(config, {.indirect = true, .event_idx = true}));
  config = good;
  config.used += 2;
  EXPECT_FALSE(queue.enable(config, {.indirect = true, .event_idx = true}));
  config = good;
  config.descriptors = DmaAddr{~std::uint64_t{0} - 15};
  EXPECT_FALSE(queue.enable(config, {.indirect = true, .event_idx = true}));
  EXPECT_TRUE(queue.enable(good, {.indirect = true, .event_idx = true}));
}

TEST_F(VirtQueueTest, ReportsARingOutsideMemory) {
  VirtQueueConfig config = ring.config();
  config.available = DmaAddr{VirtioBoard::ram_bytes};
  ASSERT_TRUE(queue.enable(config, {.indirect = true, .event_idx = true}));
  EXPECT_FALSE(queue.available());
}

// ---- used ring and notifications ----

TEST_F(VirtQueueTest, WritesTheUsedRingEntryBeforeItsIndex) {
  board.log.clear();
  ASSERT_TRUE(queue.push({.head = 5}, 513));
  EXPECT_EQ(ring.used_entry(0).id, 5u);
  EXPECT_EQ(ring.used_entry(0).len, 513u);
  EXPECT_EQ(ring.used_index(), 1);
  const auto writes = board.log.all<DeviceAccess>();
  ASSERT_EQ(writes.size(), 2u);
  EXPECT_EQ(writes[0].bus_address, DmaAddr{ring.used() + 4});
  EXPECT_EQ(writes[1].bus_address, DmaAddr{ring.used() + 2});
}

TEST_F(VirtQueueTest, WrapsAroundTheRing) {
  ring.desc(0, {data_at, 1, 0, 0});
  for (int i = 0; i < 3 * size; ++i) {
    offer_one();
    ASSERT_EQ(queue.available().value(), 1);
    ASSERT_TRUE(queue.pop());
    ASSERT_TRUE(queue.push({.head = 0}, static_cast<std::uint32_t>(i)));
  }
  EXPECT_EQ(ring.used_index(), 3 * size);
  EXPECT_EQ(ring.used_entry(0).len, 2u * size);
}

TEST_F(VirtQueueTest, InterruptsWhenTheUsedIndexPassesTheEvent) {
  ring.used_event(1);
  ASSERT_TRUE(queue.push({.head = 0}, 0));
  EXPECT_FALSE(queue.finish().value());
  ASSERT_TRUE(queue.push({.head = 0}, 0));
  EXPECT_TRUE(queue.finish().value());
  EXPECT_FALSE(queue.finish().value()) << "nothing was pushed since";
}

TEST_F(VirtQueueTest, AsksForTheNextNotificationByEventIndex) {
  ring.desc(0, {data_at, 1, 0, 0});
  offer_one();
  ASSERT_TRUE(queue.pop());
  ASSERT_TRUE(queue.finish());
  EXPECT_EQ(ring.avail_event(), 1);
}

TEST_F(VirtQueueTest, HeedsNoInterruptOnlyWithoutEventIndex) {
  ring.avail_flags(spec::vring_flag::avail_no_interrupt);
  ASSERT_TRUE(queue.push({.head = 0}, 0));
  EXPECT_TRUE(queue.finish().value()) << "with EVENT_IDX the flag is ignored";

  enable(true, false);
  ASSERT_TRUE(queue.push({.head = 0}, 0));
  EXPECT_FALSE(queue.finish().value());
  ring.avail_flags(0);
  ASSERT_TRUE(queue.push({.head = 0}, 0));
  EXPECT_TRUE(queue.finish().value());
  EXPECT_FALSE(queue.finish().value()) << "nothing was pushed since";
}

// ---- segments ----

TEST(VirtSegments, AreCutAtAnyByte) {
  const std::vector<VirtSegment> all{{DmaAddr{0x1000}, 10}, {DmaAddr{0x2000}, 5}, {DmaAddr{0x3000}, 20}};
  const auto part = sub_segments(all, 8, 10);
  ASSERT_EQ(part.size(), 3u);
  EXPECT_EQ(part[0].at, DmaAddr{0x1008});
  EXPECT_EQ(part[0].bytes, 2u);
  EXPECT_EQ(part[1].bytes, 5u);
  EXPECT_EQ(part[2].at, DmaAddr{0x3000});
  EXPECT_EQ(part[2].bytes, 3u);
  EXPECT_TRUE(sub_segments(all, 35, 1).empty());
  EXPECT_EQ(sub_segments(all, 34, 100).size(), 1u);
}

}  // namespace
}  // namespace cbit::dev
