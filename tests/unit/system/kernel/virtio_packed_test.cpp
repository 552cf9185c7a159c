// The driver's side of a packed ring: against the device model, and against a device that the test plays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/virtio/vring_packed.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;

dev::VirtioBlkOptions packed(bool indirect, bool event_idx = true) {
  dev::VirtioBlkOptions options;
  options.virtio.packed = true;
  options.virtio.indirect_desc = indirect;
  options.virtio.event_idx = event_idx;
  options.queue_size = 16;
  options.seg_max = 14;
  return options;
}

class PackedDiskOn : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, PackedDiskOn, ::testing::ValuesIn(platforms));

// 60 requests of three descriptors or one go around a ring of 16 many times.
TEST_P(PackedDiskOn, WritesAndReadsBackRoundAfterRound) {
  for (const auto& [indirect, event_idx] :
       {std::pair{true, true}, {false, true}, {true, false}, {false, false}}) {
    VirtioDisk board{GetParam(), packed(indirect, event_idx)};
    ASSERT_EQ(board.probe(), 0x0f);
    ASSERT_TRUE(board.driver->binding().has(spec::virtio_feature::ring_packed));
    const auto buffer = board.buffer(4096, 1);
    const auto back = board.buffer(4096, 2);
    for (std::uint64_t i = 0; i < 30; ++i) {
      ASSERT_TRUE(board.driver->write(board.cpu(), i * 8, buffer.at, 4096)) << i;
      ASSERT_TRUE(board.driver->read(board.cpu(), i * 8, back.at, 4096)) << i;
      EXPECT_EQ(board.seen(back), board.seen(buffer));
      EXPECT_EQ(board.on_disk(i * 8, 4096), board.seen(buffer));
    }
    EXPECT_EQ(board.driver->queue().free_descriptors(), 16u);
    EXPECT_FALSE(board.driver->queue().broken());
    EXPECT_THAT(board.complaints(), IsEmpty());
    EXPECT_EQ(board.pool_used(), 0u);
  }
}

TEST(PackedVring, RingIsSharedMemoryAndTheBufferIsNot) {
  VirtioDisk board{Platform::sev, packed(true)};
  ASSERT_EQ(board.probe(), 0x0f);
  const auto& queue = dynamic_cast<const PackedVring&>(board.driver->queue());
  for (const CoherentBuffer* const area : {&queue.memory(), &queue.driver_area(), &queue.device_area()}) {
    const PhysAddr page = board.cpu().translate(area->cpu, paging::Intent::read)->phys.page();
    EXPECT_TRUE(board.machine->memory().history(page).shared);
  }
}

// The test is the device.
class PassivePackedDevice final : public dev::VirtioDevice {
 public:
  PassivePackedDevice(bus::SystemBus& bus, RequesterId requester, const dev::VirtioOptions& options)
      : dev::VirtioDevice{bus, {.device = "passive", .requester = requester}, options, 0, {8}} {}
  [[nodiscard]] std::uint16_t device_id() const override { return 63; }
  int kicks = 0;

 protected:
  dev::OrTrouble<void> kicked(std::uint16_t) override {
    ++kicks;
    return {};
  }
  [[nodiscard]] ConstByteSpan config_space() const override { return {}; }
};

class PackedVringTest : public ::testing::Test {
 protected:
  void make(bool indirect = false, bool event_idx = false) {
    board = std::make_unique<DmaBoard>(Platform::sev, small_pool, small_guest);
    parent = &board->add_device();
    device = std::make_unique<PassivePackedDevice>(
        board->machine->bus(), parent->requester,
        dev::VirtioOptions{.indirect_desc = indirect, .event_idx = event_idx, .packed = true});
    binding = std::make_unique<VirtioBinding>(*board->kernel, *device, *parent, VirtioDriverOptions{});
    ASSERT_TRUE(binding->negotiate(0));
    auto created = Vring::create(board->cpu(), *binding, 0, "test");
    ASSERT_TRUE(created);
    ring = std::move(*created);
    binding->add_status(spec::virtio_status::driver_ok);
    port = std::make_unique<bus::DmaPort>(board->machine->bus(), device->port().config());
    buffer = board->buffer(4096, 1);
    board->log.clear();
  }
  void TearDown() override {
    if (!ring) return;
    binding->reset();
    ring.reset();
    EXPECT_EQ(board->dma().release(*parent), 0u) << "a mapping was leaked";
  }
  [[nodiscard]] const PackedVring& packed_ring() const { return dynamic_cast<const PackedVring&>(*ring); }

  Result<void, Errno> add(std::size_t pieces, Vring::Token token) {
    std::vector<VringBuffer> list;
    for (std::size_t i = 0; i < pieces; ++i) list.push_back({buffer.phys + 256 * i, 128});
    return ring->add(board->cpu(), {}, list, token);
  }
  spec::PackedDesc desc(std::uint32_t i) {
    return port->load<spec::PackedDesc>(ring->memory().dma + spec::VringAreas::desc(i)).value();
  }
  void use(std::uint32_t place, std::uint16_t id, bool wrap = true) {
    const std::uint16_t flags = wrap ? spec::packed_flag::avail | spec::packed_flag::used : 0;
    ASSERT_TRUE(
        port->store(ring->memory().dma + spec::VringAreas::desc(place), spec::PackedDesc{0, 64, id, flags}));
  }
  void device_event(const spec::PackedEvent& event) {
    ASSERT_TRUE(port->store(packed_ring().device_area().dma, event));
  }
  spec::PackedEvent driver_event() {
    return port->load<spec::PackedEvent>(packed_ring().driver_area().dma).value();
  }

  std::unique_ptr<DmaBoard> board;
  Device* parent = nullptr;
  std::unique_ptr<PassivePackedDevice> device;
  std::unique_ptr<VirtioBinding> binding;
  std::unique_ptr<Vring> ring;
  std::unique_ptr<bus::DmaPort> port;
  KernelBuffer buffer;
};

TEST_F(PackedVringTest, ListCarriesOneIdAndTheFlagsOfItsRound) {
  make();
  ASSERT_TRUE(add(3, 42));
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(desc(i).id, 0);
    EXPECT_EQ(desc(i).flags & (spec::packed_flag::avail | spec::packed_flag::used), spec::packed_flag::avail);
    EXPECT_EQ((desc(i).flags & spec::vring_flag::next) != 0, i != 2);
    EXPECT_NE(desc(i).flags & spec::vring_flag::write, 0);
  }
  EXPECT_EQ(ring->free_descriptors(), 5u);
  EXPECT_EQ(add(6, 1).error(), Errno::enospc);
  use(0, 0);
  const auto used = ring->get(board->cpu());
  ASSERT_TRUE(used);
  EXPECT_EQ(used->token, 42u);
  EXPECT_EQ(used->length, 64u);
  EXPECT_EQ(ring->free_descriptors(), 8u);
}

TEST_F(PackedVringTest, FlagsChangeSidesWhereTheListWraps) {
  make();
  ASSERT_TRUE(add(5, 1));
  use(0, 0);
  ASSERT_TRUE(ring->get(board->cpu()));
  ASSERT_TRUE(add(5, 2));
  EXPECT_EQ(desc(7).flags & (spec::packed_flag::avail | spec::packed_flag::used), spec::packed_flag::avail);
  EXPECT_EQ(desc(0).flags & (spec::packed_flag::avail | spec::packed_flag::used), spec::packed_flag::used);
  EXPECT_FALSE(ring->get(board->cpu())) << "what was used in the round before is not used again";
  use(5, desc(5).id);
  EXPECT_EQ(ring->get(board->cpu())->token, 2u);
  ASSERT_TRUE(add(1, 3));
  use(2, desc(2).id, false);
  EXPECT_EQ(ring->get(board->cpu())->token, 3u);
}

TEST_F(PackedVringTest, BuffersMayComeBackInAnyOrder) {
  make();
  ASSERT_TRUE(add(2, 10));
  ASSERT_TRUE(add(3, 11));
  const std::uint16_t second = desc(2).id;
  use(0, second);
  EXPECT_EQ(ring->get(board->cpu())->token, 11u);
  use(3, 0);
  EXPECT_EQ(ring->get(board->cpu())->token, 10u);
  EXPECT_EQ(ring->free_descriptors(), 8u);
}

TEST_F(PackedVringTest, ForgedIdsBreakTheQueueForGood) {
  for (const auto& [id, words] : {std::pair{std::uint16_t{8}, "test:id 8 out of range"},
                                  std::pair{std::uint16_t{5}, "test:id 5 is not a head!"}}) {
    make();
    ASSERT_TRUE(add(2, 1));
    use(0, id);
    EXPECT_FALSE(ring->get(board->cpu()));
    EXPECT_TRUE(ring->broken());
    EXPECT_THAT(board->messages(), Contains(words));
    EXPECT_EQ(add(1, 2).error(), Errno::eio);
    TearDown();
  }
}

TEST_F(PackedVringTest, ADeviceThatRewritesDescriptorsChangesNothingThatTheDriverUnmaps) {
  make();
  ASSERT_TRUE(add(2, 1));
  ASSERT_TRUE(port->store(
      ring->memory().dma + spec::VringAreas::desc(1),
      spec::PackedDesc{0xdead000, 0xffff'ffff, 7, spec::vring_flag::next | spec::vring_flag::indirect}));
  use(0, 0);
  EXPECT_EQ(ring->get(board->cpu())->token, 1u);
  EXPECT_EQ(ring->free_descriptors(), 8u);
}

TEST_F(PackedVringTest, NotifiesAsTheDevicesEventSuppressionSays) {
  make(false, true);
  const auto kicked = [&](const spec::PackedEvent& event) {
    device_event(event);
    const int before = device->kicks;
    EXPECT_TRUE(add(1, 1));
    ring->kick(board->cpu());
    return device->kicks != before;
  };
  EXPECT_TRUE(kicked({0, spec::packed_event::enable}));
  EXPECT_FALSE(kicked({0, spec::packed_event::disable}));
  EXPECT_TRUE(kicked({2 | 1u << 15, spec::packed_event::desc}));
  EXPECT_FALSE(kicked({2 | 1u << 15, spec::packed_event::desc})) << "place 2 was passed before";
  EXPECT_FALSE(kicked({4, spec::packed_event::desc})) << "place 4 of the next round";
}

TEST_F(PackedVringTest, TellsTheDeviceWhichPlaceItWaitsFor) {
  make(false, true);
  ring->disable_interrupts(board->cpu());
  EXPECT_EQ(driver_event().flags, spec::packed_event::disable);
  EXPECT_TRUE(ring->enable_interrupts(board->cpu()));
  EXPECT_EQ(driver_event().flags, spec::packed_event::desc);
  EXPECT_EQ(driver_event().off_wrap, 1u << 15);
  ASSERT_TRUE(add(3, 1));
  use(0, 0);
  EXPECT_FALSE(ring->enable_interrupts(board->cpu())) << "something is pending";
  ASSERT_TRUE(ring->get(board->cpu()));
  EXPECT_EQ(driver_event().off_wrap, 3 | 1u << 15);
}

// The pool is used up: the table's mapping fails with -ENOMEM, the ring is tried, and that is -EIO in Linux.
TEST_F(PackedVringTest, AMappingThatFailsLeavesNothingBehind) {
  make(true);
  const auto large = board->buffer(256 * 1024, 3);
  const auto small = board->buffer(1024, 3);
  Dma& dma = board->dma();
  std::vector<std::pair<DmaAddr, std::uint64_t>> taken;
  for (const KernelBuffer& b : {large, small}) {
    for (;;) {
      const DmaAddr at = dma.map_single(board->cpu(), *parent, b.at, b.bytes, DmaDirection::to_device);
      if (dma.mapping_error(*parent, at)) break;
      taken.emplace_back(at, b.bytes);
    }
  }
  EXPECT_EQ(add(2, 1).error(), Errno::eio);
  EXPECT_EQ(ring->free_descriptors(), 8u);
  for (const auto& [at, bytes] : taken)
    dma.unmap_single(board->cpu(), *parent, at, bytes, DmaDirection::to_device);
  EXPECT_TRUE(add(2, 1));
}

}  // namespace
}  // namespace cbit::kernel
