#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/virtio/vring_split.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A device that does nothing by itself: the test plays it through its DmaPort.
class PassiveDevice final : public dev::VirtioDevice {
 public:
  PassiveDevice(bus::SystemBus& bus, RequesterId requester, const dev::VirtioOptions& options,
                std::uint16_t size)
      : dev::VirtioDevice{bus, {.device = "passive", .requester = requester}, options, 0, {size}} {}
  [[nodiscard]] std::uint16_t device_id() const override { return 63; }
  int kicks = 0;

 protected:
  dev::OrTrouble<void> kicked(std::uint16_t) override {
    ++kicks;
    return {};
  }
  [[nodiscard]] ConstByteSpan config_space() const override { return {}; }
};

class VirtioRingTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t size = 8;

  void make(const dev::VirtioOptions& options = {}, Platform platform = Platform::sev) {
    board = std::make_unique<DmaBoard>(platform, small_pool, small_guest);
    parent = &board->add_device();
    device = std::make_unique<PassiveDevice>(board->machine->bus(), parent->requester, options, size);
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
    EXPECT_THAT(board->complaints(), IsEmpty());
  }

  [[nodiscard]] std::vector<VringBuffer> pieces(std::size_t n) const {
    std::vector<VringBuffer> list;
    for (std::size_t i = 0; i < n; ++i) list.push_back({buffer.phys + 256 * i, 128});
    return list;
  }
  Result<void, Errno> add(std::size_t out, std::size_t in, Vring::Token token) {
    const auto all = pieces(out + in);
    return ring->add(board->cpu(), std::span{all}.first(out), std::span{all}.subspan(out), token);
  }

  [[nodiscard]] const SplitVring& split() const { return dynamic_cast<const SplitVring&>(*ring); }

  // ---- the device's end ----
  [[nodiscard]] DmaAddr used_at(std::uint64_t offset) const {
    return ring->memory().dma + split().areas().used_offset(split().align()) + offset;
  }
  [[nodiscard]] DmaAddr avail_at(std::uint64_t offset) const {
    return ring->memory().dma + split().areas().avail_offset() + offset;
  }
  spec::VringDesc desc(std::uint32_t i) {
    return port->load<spec::VringDesc>(ring->memory().dma + spec::VringAreas::desc(i)).value();
  }
  void overwrite_desc(std::uint32_t i, const spec::VringDesc& d) {
    ASSERT_TRUE(port->store(ring->memory().dma + spec::VringAreas::desc(i), d));
  }
  void give_back(std::uint32_t id, std::uint32_t length) {
    ASSERT_TRUE(
        port->store(used_at(spec::VringAreas::used_ring(used % size)), spec::VringUsedElem{id, length}));
    ASSERT_TRUE(port->store(used_at(spec::VringAreas::idx), ++used));
  }
  std::uint16_t used_event() {
    return port->load<std::uint16_t>(avail_at(split().areas().used_event())).value();
  }
  void avail_event(std::uint16_t event) {
    ASSERT_TRUE(port->store(used_at(split().areas().avail_event()), event));
  }

  std::unique_ptr<DmaBoard> board;
  Device* parent = nullptr;
  std::unique_ptr<PassiveDevice> device;
  std::unique_ptr<VirtioBinding> binding;
  std::unique_ptr<Vring> ring;
  std::unique_ptr<bus::DmaPort> port;
  KernelBuffer buffer;
  std::uint16_t used = 0;
};

TEST_F(VirtioRingTest, ReturnsARequestWithTheLengthThatTheDeviceSays) {
  make();
  ASSERT_TRUE(add(1, 1, 42));
  EXPECT_FALSE(ring->get(board->cpu()));
  give_back(0, 77);
  const auto back = ring->get(board->cpu());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->token, 42u);
  EXPECT_EQ(back->length, 77u);
  EXPECT_FALSE(ring->get(board->cpu()));
  EXPECT_EQ(ring->free_descriptors(), size);
  EXPECT_EQ(board->slots_used(), 0u);
}

TEST_F(VirtioRingTest, UsesOneDescriptorAndATableForSeveralBuffers) {
  make();
  ASSERT_TRUE(add(2, 1, 1));
  EXPECT_EQ(ring->free_descriptors(), size - 1);
  EXPECT_EQ(desc(0).flags, spec::vring_flag::indirect);
  EXPECT_EQ(desc(0).len, 48u);
  ASSERT_TRUE(add(1, 0, 2));
  EXPECT_EQ(desc(1).flags, 0) << "a single buffer needs no table";
  EXPECT_EQ(desc(1).len, 128u);
}

TEST_F(VirtioRingTest, ChainsDescriptorsWithoutTheIndirectFeature) {
  make({.indirect_desc = false});
  ASSERT_TRUE(add(2, 1, 1));
  EXPECT_EQ(ring->free_descriptors(), size - 3u);
  EXPECT_EQ(desc(0).flags, spec::vring_flag::next);
  EXPECT_EQ(desc(0).next, 1);
  EXPECT_EQ(desc(1).flags, spec::vring_flag::next);
  EXPECT_EQ(desc(2).flags, spec::vring_flag::write);
  give_back(0, 0);
  ASSERT_TRUE(ring->get(board->cpu()));
  EXPECT_EQ(ring->free_descriptors(), size);
}

TEST_F(VirtioRingTest, SaysNoSpaceAndNotifiesForOutgoingBuffers) {
  make({.indirect_desc = false});
  for (Vring::Token i = 0; i < size; ++i) ASSERT_TRUE(add(1, 0, i));
  EXPECT_EQ(add(0, 1, 99).error(), Errno::enospc);
  EXPECT_EQ(device->kicks, 0);
  EXPECT_EQ(add(1, 0, 99).error(), Errno::enospc);
  EXPECT_EQ(device->kicks, 1);
  EXPECT_EQ(board->slots_used(), size) << "nothing was mapped for what did not fit";
}

TEST_F(VirtioRingTest, FallsBackToTheRingWhenThereIsNoMemoryForATable) {
  make();
  auto& pages = board->kernel->mm().page_allocator();
  std::vector<PhysAddr> taken;
  for (std::uint64_t run = pages.free_pages(); run != 0; run /= 2)
    while (const auto got = pages.allocate(run)) taken.push_back(*got);
  ASSERT_EQ(pages.free_pages(), 0u);
  ASSERT_TRUE(add(2, 1, 1));
  EXPECT_EQ(desc(0).flags & spec::vring_flag::indirect, 0);
  EXPECT_EQ(ring->free_descriptors(), size - 3u);
}

TEST_F(VirtioRingTest, LeavesNothingMappedWhenABufferCannotBe) {
  make();
  auto list = pieces(3);
  list[2].length = 300 * 1024;  // over the bounce limit
  const auto added = ring->add(board->cpu(), std::span{list}.first(1), std::span{list}.subspan(1), 1);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error(), Errno::enomem);
  EXPECT_EQ(board->slots_used(), 0u);
  EXPECT_EQ(ring->free_descriptors(), size);
  EXPECT_TRUE(add(1, 1, 2)) << "and the queue goes on";
}

// ---- what the device may write ----

TEST_F(VirtioRingTest, AnIdOutOfRangeBreaksTheQueue) {
  make();
  ASSERT_TRUE(add(1, 0, 1));
  give_back(size, 0);
  EXPECT_FALSE(ring->get(board->cpu()));
  EXPECT_TRUE(ring->broken());
  EXPECT_THAT(board->messages(), Contains("test:id 8 out of range"));
  EXPECT_EQ(add(1, 0, 2).error(), Errno::eio);
  EXPECT_FALSE(ring->kick(board->cpu()));
  EXPECT_EQ(device->kicks, 0);
}

TEST_F(VirtioRingTest, AnIdThatIsNoHeadBreaksTheQueue) {
  make({.indirect_desc = false});
  ASSERT_TRUE(add(2, 0, 1));
  give_back(1, 0);
  EXPECT_FALSE(ring->get(board->cpu()));
  EXPECT_TRUE(ring->broken());
  EXPECT_THAT(board->messages(), Contains("test:id 1 is not a head!"));
}

TEST_F(VirtioRingTest, GivingBackTwiceBreaksTheQueue) {
  make();
  ASSERT_TRUE(add(1, 0, 1));
  give_back(0, 0);
  give_back(0, 0);
  EXPECT_TRUE(ring->get(board->cpu()));
  EXPECT_FALSE(ring->get(board->cpu()));
  EXPECT_TRUE(ring->broken());
}

TEST_F(VirtioRingTest, TrustsItsOwnCopyOfDescriptorsNotTheRing) {
  make({.indirect_desc = false});
  ASSERT_TRUE(add(2, 1, 1));
  for (std::uint32_t i = 0; i < size; ++i)
    overwrite_desc(i, {0xdead'0000, 0xffff'ffff, spec::vring_flag::next | spec::vring_flag::indirect, 0});
  give_back(0, 0);
  ASSERT_TRUE(ring->get(board->cpu()));
  EXPECT_EQ(ring->free_descriptors(), size);
  EXPECT_EQ(board->slots_used(), 0u);
  EXPECT_FALSE(ring->broken());
}

TEST_F(VirtioRingTest, TheDeviceReadsATableAsItWasWhenItWasMapped) {
  make();
  ASSERT_TRUE(add(2, 0, 1));
  const DmaAddr table{desc(0).addr};
  ASSERT_TRUE(port->store(table, spec::VringDesc{0xdead'0000, 1, 0, 0})) << "it may scribble on its copy";
  give_back(0, 0);
  ASSERT_TRUE(ring->get(board->cpu()));
  EXPECT_EQ(board->slots_used(), 0u) << "the buffers were unmapped by our own record";
}

// ---- notifications ----

TEST_F(VirtioRingTest, KicksWhenTheIndexPassesTheDevicesEvent) {
  make();
  ASSERT_TRUE(add(1, 0, 1));
  EXPECT_TRUE(ring->kick(board->cpu()));
  EXPECT_EQ(device->kicks, 1);
  avail_event(2);
  ASSERT_TRUE(add(1, 0, 2));
  ring->kick(board->cpu());
  EXPECT_EQ(device->kicks, 1) << "not asked for yet";
  ASSERT_TRUE(add(1, 0, 3));
  ring->kick(board->cpu());
  EXPECT_EQ(device->kicks, 2);
}

TEST_F(VirtioRingTest, HeedsNoNotifyWithoutEventIndices) {
  make({.event_idx = false});
  ASSERT_TRUE(port->store(used_at(spec::VringAreas::flags), spec::vring_flag::used_no_notify));
  ASSERT_TRUE(add(1, 0, 1));
  ring->kick(board->cpu());
  EXPECT_EQ(device->kicks, 0);
  ASSERT_TRUE(port->store(used_at(spec::VringAreas::flags), std::uint16_t{0}));
  ring->kick(board->cpu());
  EXPECT_EQ(device->kicks, 1);
}

TEST_F(VirtioRingTest, AsksForInterruptsByEventIndex) {
  make();
  EXPECT_EQ(used_event(), 0);
  ASSERT_TRUE(add(1, 0, 1));
  give_back(0, 0);
  EXPECT_TRUE(ring->interrupted(board->cpu()));
  ring->disable_interrupts(board->cpu());
  ASSERT_TRUE(ring->get(board->cpu()));
  EXPECT_EQ(used_event(), 0) << "not while interrupts are off";
  EXPECT_TRUE(ring->enable_interrupts(board->cpu()));
  EXPECT_EQ(used_event(), 1);
  EXPECT_FALSE(ring->interrupted(board->cpu())) << "nothing is left";
}

TEST_F(VirtioRingTest, TurnsInterruptsOffByFlagWithoutEventIndices) {
  make({.event_idx = false});
  ring->disable_interrupts(board->cpu());
  EXPECT_EQ(port->load<std::uint16_t>(avail_at(0)).value(), spec::vring_flag::avail_no_interrupt);
  ASSERT_TRUE(add(1, 0, 1));
  give_back(0, 0);
  EXPECT_FALSE(ring->enable_interrupts(board->cpu())) << "a request came meanwhile";
  EXPECT_EQ(port->load<std::uint16_t>(avail_at(0)).value(), 0);
}

TEST_F(VirtioRingTest, DetachesWhatTheDeviceNeverFinished) {
  make();
  ASSERT_TRUE(add(1, 1, 5));
  ASSERT_TRUE(add(1, 0, 6));
  EXPECT_NE(board->slots_used(), 0u);
  binding->reset();
  EXPECT_EQ(ring->detach_unused(board->cpu()), 5u);
  EXPECT_EQ(ring->detach_unused(board->cpu()), 6u);
  EXPECT_FALSE(ring->detach_unused(board->cpu()));
  EXPECT_EQ(board->slots_used(), 0u);
}

// ---- where the ring lies ----

TEST_F(VirtioRingTest, IsSharedAndClearedMemoryInAGuest) {
  make();
  const auto phys = board->kernel->mm().virt_to_phys(ring->memory().cpu);
  const std::uint64_t bytes = split().areas().bytes(split().align());
  EXPECT_EQ(ring->memory().dma.value(), phys.value()) << "no C bit";
  EXPECT_EQ(board->raw(phys, bytes), Bytes(bytes));
  EXPECT_TRUE(board->machine->memory().history(phys).shared);
}

TEST_F(VirtioRingTest, AlignsTheUsedRingByTransport) {
  make({}, Platform::plain);
  EXPECT_EQ(split().align(), 64u);
  ring.reset();
  make({.iommu_platform = false, .legacy = true}, Platform::plain);
  EXPECT_EQ(split().align(), 4096u);
  EXPECT_TRUE(ring->memory().dma.is_aligned(4096));
}

// A ring of 256 takes two pages, one of 128 a single page.
TEST(VirtioRing, HalvesItsSizeWhenMemoryIsShort) {
  DmaBoard board{Platform::plain, small_pool, small_guest};
  Device& parent = board.add_device();
  PassiveDevice device{board.machine->bus(), parent.requester, {}, 256};
  VirtioBinding binding{*board.kernel, device, parent, {}};
  ASSERT_TRUE(binding.negotiate(0));
  auto& pages = board.kernel->mm().page_allocator();
  const PhysAddr spare = *pages.allocate(1);
  for (std::uint64_t run = pages.free_pages(); run != 0; run /= 2)
    while (pages.allocate(run)) {
    }
  EXPECT_EQ(Vring::create(board.cpu(), binding, 0, "test").error(), Errno::enomem);
  EXPECT_FALSE(device.queue_enabled(0));
  pages.free(spare, 1);
  const auto ring = Vring::create(board.cpu(), binding, 0, "test");
  ASSERT_TRUE(ring);
  EXPECT_EQ((*ring)->size(), 128u);
  EXPECT_TRUE(device.queue_enabled(0));
  binding.reset();
}

TEST(VirtioRing, RefusesADeviceWhoseQueueIsNoPowerOfTwo) {
  DmaBoard board{Platform::plain, small_pool, small_guest};
  Device& parent = board.add_device();
  PassiveDevice device{board.machine->bus(), parent.requester, {}, 100};
  VirtioBinding binding{*board.kernel, device, parent, {}};
  ASSERT_TRUE(binding.negotiate(0));
  const auto ring = Vring::create(board.cpu(), binding, 0, "test");
  ASSERT_FALSE(ring);
  EXPECT_EQ(ring.error(), Errno::einval);
  EXPECT_THAT(board.messages(), ElementsAre("bad queue size 100"));
}

}  // namespace
}  // namespace cbit::kernel
