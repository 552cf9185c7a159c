#include "kernel/virtio/virtio_blk_driver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/virtio/vring_split.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// How many of the blocks of 16 bytes two buffers have in common.
std::size_t common_blocks(const Bytes& a, const Bytes& b) {
  std::size_t common = 0;
  for (std::size_t i = 0; i + 16 <= std::min(a.size(), b.size()); i += 16)
    common += std::equal(a.begin() + static_cast<std::ptrdiff_t>(i),
                         a.begin() + static_cast<std::ptrdiff_t>(i + 16),
                         b.begin() + static_cast<std::ptrdiff_t>(i));
  return common;
}

// What the device, and so the host, can read of a queue.
struct RingView {
  spec::VringAreas areas;
  std::uint64_t align = 0;
  Bytes bytes;

  [[nodiscard]] spec::VringDesc desc(std::uint32_t i) const {
    return load<spec::VringDesc>(bytes, spec::VringAreas::desc(i));
  }
  [[nodiscard]] std::uint16_t avail_index() const {
    return load<std::uint16_t>(bytes, areas.avail_offset() + spec::VringAreas::idx);
  }
  [[nodiscard]] std::uint16_t used_index() const {
    return load<std::uint16_t>(bytes, areas.used_offset(align) + spec::VringAreas::idx);
  }
};

RingView raw_ring(VirtioDisk& board) {
  const auto& queue = dynamic_cast<const SplitVring&>(board.driver->queue());
  const auto phys = board.kernel->mm().virt_to_phys(queue.memory().cpu);
  return {queue.areas(), queue.align(), board.raw(phys, queue.areas().bytes(queue.align()))};
}

class VirtioBlkDriverOn : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, VirtioBlkDriverOn, ::testing::ValuesIn(platforms));

TEST_P(VirtioBlkDriverOn, ReadsWhatIsOnTheDisk) {
  VirtioDisk board{GetParam()};
  board.probe();
  const auto buffer = board.buffer(64 * 1024, 1);
  ASSERT_TRUE(board.driver->read(board.cpu(), 100, buffer.at, buffer.bytes));
  EXPECT_EQ(board.seen(buffer), board.on_disk(100, buffer.bytes));
  EXPECT_THAT(board.complaints(), IsEmpty());
  EXPECT_EQ(board.pool_used(), 0u);
}

TEST_P(VirtioBlkDriverOn, WritesToTheDisk) {
  VirtioDisk board{GetParam()};
  board.probe();
  const auto buffer = board.buffer(64 * 1024, 2);
  ASSERT_TRUE(board.driver->write(board.cpu(), 7, buffer.at, buffer.bytes));
  EXPECT_EQ(board.on_disk(7, buffer.bytes), board.seen(buffer));
  EXPECT_EQ(board.on_disk(0, 512), pattern_bytes(512, 11)) << "and nowhere else";
  EXPECT_THAT(board.complaints(), IsEmpty());
  EXPECT_EQ(board.pool_used(), 0u);
}

TEST(VirtioBlkDriver, WorksBehindAnIommuInsteadOfBouncing) {
  for (const Platform host : {Platform::plain, Platform::sme}) {
    VirtioDisk board{host, {}, {.iommu = IommuMode::translated}};
    board.probe();
    const auto buffer = board.buffer(16 * 1024, 3);
    ASSERT_TRUE(board.driver->read(board.cpu(), 1, buffer.at, buffer.bytes));
    EXPECT_EQ(board.seen(buffer), board.on_disk(1, buffer.bytes));
    EXPECT_TRUE(board.log.all<SwiotlbAllocated>().empty());
    for (const auto& access : board.log.all<DeviceAccess>()) EXPECT_TRUE(access.through_iommu);
  }
}

// Outcome 28: three segments and an indirect table in a SEV guest.
TEST(VirtioBlkDriver, InASevGuestTheHostReadsRingAndBouncesButNotTheBuffers) {
  VirtioDisk board{Platform::sev};
  board.probe();
  const auto buffer = board.buffer(4096, 4);
  const Bytes contents = board.seen(buffer);
  board.log.clear();
  ASSERT_TRUE(board.driver->write(board.cpu(), 0, buffer.at, buffer.bytes));
  EXPECT_EQ(board.on_disk(0, buffer.bytes), contents);

  const RingView ring = raw_ring(board);
  EXPECT_EQ(ring.avail_index(), 1) << "the ring is plain";
  EXPECT_EQ(ring.used_index(), 1);
  const spec::VringDesc head = ring.desc(0);
  EXPECT_EQ(head.flags, spec::vring_flag::indirect);
  EXPECT_EQ(head.len, 3 * sizeof(spec::VringDesc));
  EXPECT_EQ(head.addr & board.kernel->cc().me_mask(), 0u);
  EXPECT_TRUE(board.bounced(board.parent, DmaAddr{head.addr})) << "the table is bounced like data";

  const auto at = [&](std::uint64_t addr, std::uint64_t bytes) { return board.raw(PhysAddr{addr}, bytes); };
  const Bytes table = at(head.addr, head.len);
  const auto header = load<spec::VringDesc>(table, 0);
  const auto data = load<spec::VringDesc>(table, 16);
  const auto status = load<spec::VringDesc>(table, 32);
  for (const spec::VringDesc& d : {header, data, status})
    EXPECT_TRUE(board.bounced(board.parent, DmaAddr{d.addr}));
  EXPECT_EQ(header.len, 16u);
  EXPECT_EQ(data.len, 4096u);
  EXPECT_EQ(data.flags, spec::vring_flag::next);
  EXPECT_EQ(status.flags, spec::vring_flag::write);
  EXPECT_EQ(load<spec::VirtioBlkOutHdr>(at(header.addr, 16)).type, spec::virtio_blk_type::out);
  EXPECT_EQ(at(data.addr, 4096), contents) << "the bounce is plain";

  EXPECT_EQ(common_blocks(board.raw(buffer.phys, buffer.bytes), contents), 0u)
      << "the original is ciphertext";
  EXPECT_EQ(board.plain(buffer.phys, buffer.bytes), contents);
  for (const auto& access : board.log.all<DeviceAccess>()) EXPECT_EQ(access.page_key, no_key);
  EXPECT_THAT(board.log.all<KeyMismatch>(), IsEmpty());
}

TEST(VirtioBlkDriver, OnAnSmeHostNothingBouncesAndAddressesCarryTheBit) {
  VirtioDisk board{Platform::sme};
  board.probe();
  const auto buffer = board.buffer(4096, 5);
  ASSERT_TRUE(board.driver->write(board.cpu(), 0, buffer.at, buffer.bytes));
  EXPECT_EQ(board.driver->queue().memory().dma.value() & c_bit_47, c_bit_47);
  EXPECT_TRUE(board.log.all<SwiotlbAllocated>().empty());
  EXPECT_EQ(common_blocks(board.raw(buffer.phys, 4096), board.on_disk(0, 4096)), 0u);
}

// Outcome 30: Linux 5.10 does not ask for ACCESS_PLATFORM.
TEST(VirtioBlkDriver, WithoutTheCheckTheRingOfASevGuestLooksRandomToTheDevice) {
  VirtioDisk board{Platform::sev, {.virtio = {.iommu_platform = false}}};
  board.probe({.restricted_access_check = false});
  ASSERT_TRUE(board.driver);
  const auto buffer = board.buffer(4096, 6);
  const Bytes before = board.seen(buffer);
  const auto read = board.driver->read(board.cpu(), 0, buffer.at, buffer.bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), Errno::etimedout) << "no answer ever comes";

  const auto& queue = dynamic_cast<const SplitVring&>(board.driver->queue());
  const PhysAddr ring_at{queue.memory().dma.value()};
  EXPECT_EQ(board.kernel->mm().virt_to_phys(queue.memory().cpu), ring_at)
      << "a guest-physical address without C";
  const std::uint64_t bytes = queue.areas().avail_offset() + 16;
  EXPECT_EQ(common_blocks(board.raw(ring_at, bytes), board.plain(ring_at, bytes)), 0u);
  EXPECT_EQ(load<std::uint16_t>(board.plain(ring_at + queue.areas().avail_offset(), 4), 2), 1);

  EXPECT_TRUE(board.hardware->broken());
  const auto broken = board.log.all<VirtioBroken>();
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_THAT(broken[0].reason, HasSubstr("available index moved from 0 to"));
  EXPECT_FALSE(board.log.all<KeyMismatch>().empty());
  EXPECT_EQ(board.seen(buffer), before);
  EXPECT_EQ(board.pool_used(), 0u) << "nothing went through the DMA API";
}

// The classic mistake: physical addresses of buffers in descriptors.
TEST(VirtioBlkDriver, RawAddressesWorkWhereMemoryIsPlain) {
  VirtioDisk board{Platform::plain};
  board.probe({.raw_addresses = true});
  const auto buffer = board.buffer(8192, 7);
  ASSERT_TRUE(board.driver->read(board.cpu(), 3, buffer.at, buffer.bytes));
  EXPECT_EQ(board.seen(buffer), board.on_disk(3, buffer.bytes));
}

TEST(VirtioBlkDriver, RawAddressesInASevGuestSendCiphertextAndCorruptPrivateMemory) {
  VirtioDisk board{Platform::sev};
  board.probe({.raw_addresses = true});
  const auto buffer = board.buffer(4096, 8);
  const Bytes contents = board.seen(buffer);
  const auto written = board.driver->write(board.cpu(), 0, buffer.at, buffer.bytes);
  EXPECT_FALSE(written) << "the device reads a header of noise, the driver a status of noise";
  EXPECT_EQ(board.on_disk(0, 4096), Bytes(pattern_bytes(4096, 11))) << "nothing sensible arrived";
  EXPECT_EQ(board.seen(buffer), contents) << "the device only read the data";

  std::vector<std::uint64_t> foreign;
  for (const Event& event : board.log.events())
    if (const auto* write = std::get_if<ForeignWrite>(&event.payload);
        write && event.agent.kind == AgentKind::device)
      foreign.push_back(write->bytes);
  EXPECT_THAT(foreign, ::testing::ElementsAre(1u)) << "the status byte went into a private page";
  EXPECT_FALSE(board.log.all<KeyMismatch>().empty());
  EXPECT_EQ(raw_ring(board).avail_index(), 1) << "the ring itself is as it should be";
}

// ---- cutting ----

TEST(VirtioBlkDriver, CutsSegmentsAtTheLargestBounceInASevGuest) {
  VirtioDisk board{Platform::sev};
  board.probe();
  EXPECT_EQ(board.driver->limits().max_segment_size, 256u * 1024);
  EXPECT_EQ(board.driver->limits().max_segments, 254u);
  const auto buffer = board.buffer(600 * 1024, 9);
  ASSERT_TRUE(board.driver->write(board.cpu(), 0, buffer.at, buffer.bytes));
  EXPECT_EQ(board.on_disk(0, buffer.bytes), board.seen(buffer));
  std::vector<std::uint64_t> sizes;
  for (const auto& mapped : board.log.all<DmaMapped>())
    if (mapped.kind != DmaMappingKind::coherent && mapped.bytes > 64) sizes.push_back(mapped.bytes);
  EXPECT_THAT(sizes, ::testing::ElementsAre(256u * 1024, 256u * 1024, 88u * 1024, 80u))
      << "three segments and the table of five descriptors";
  EXPECT_EQ(board.log.all<VirtioRequest>().size(), 1u);
}

TEST(VirtioBlkDriver, HasNoSegmentLimitOfItsOwnOnAPlainHost) {
  VirtioDisk board{Platform::plain};
  board.probe();
  EXPECT_EQ(board.driver->limits().max_segment_size, 0xffff'ffffu);
}

TEST(VirtioBlkDriver, CutsRequestsByTheBlockLayersLimit) {
  VirtioDisk board{Platform::plain};
  board.probe();
  const auto buffer = board.buffer(3 << 20, 10);
  ASSERT_TRUE(board.driver->write(board.cpu(), 8, buffer.at, buffer.bytes));
  EXPECT_EQ(board.on_disk(8, buffer.bytes), board.seen(buffer));
  std::vector<std::uint64_t> sizes;
  for (const auto& request : board.log.all<VirtioRequest>()) sizes.push_back(request.bytes);
  EXPECT_THAT(sizes, ::testing::ElementsAre(1280u * 1024, 1280u * 1024, 512u * 1024));
}

TEST(VirtioBlkDriver, CutsRequestsByTheNumberOfSegments) {
  VirtioDisk board{Platform::sev, {.seg_max = 2, .size_max = 4096}};
  board.probe();
  const auto buffer = board.buffer(5 * 4096, 12);
  ASSERT_TRUE(board.driver->read(board.cpu(), 0, buffer.at, buffer.bytes));
  EXPECT_EQ(board.seen(buffer), board.on_disk(0, buffer.bytes));
  EXPECT_EQ(board.log.all<VirtioRequest>().size(), 3u);
}

TEST(VirtioBlkDriver, GoesOnWithOneSegmentWhenTheDeviceNamesNone) {
  VirtioDisk board{Platform::plain, {.seg_max = 0}};
  board.probe();
  EXPECT_EQ(board.driver->limits().max_segments, 1u);
}

TEST(VirtioBlkDriver, WorksWithoutIndirectTablesAndEventIndices) {
  VirtioDisk board{Platform::sev,
                   {.virtio = {.indirect_desc = false, .event_idx = false}, .queue_size = 8, .seg_max = 6}};
  board.probe();
  const auto buffer = board.buffer(2 << 20, 13);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(board.driver->write(board.cpu(), 0, buffer.at, buffer.bytes));
    ASSERT_TRUE(board.driver->read(board.cpu(), 0, buffer.at, buffer.bytes));
  }
  EXPECT_EQ(board.on_disk(0, buffer.bytes), board.seen(buffer));
  EXPECT_EQ(board.driver->queue().free_descriptors(), 8u);
  EXPECT_EQ(raw_ring(board).desc(0).flags & spec::vring_flag::indirect, 0);
  EXPECT_EQ(board.pool_used(), 0u);
}

TEST(VirtioBlkDriver, ReadsIntoScatteredPagesOfAVmap) {
  VirtioDisk board{Platform::sev};
  board.probe();
  std::vector<PhysAddr> pages;
  for (std::uint64_t i = 0; i < 4; ++i) {
    pages.push_back(*board.kernel->mm().page_allocator().allocate(1));
    (void)*board.kernel->mm().page_allocator().allocate(1);
  }
  const auto at = board.kernel->mm().vmap(pages, 1);
  ASSERT_TRUE(at);
  ASSERT_TRUE(board.driver->read(board.cpu(), 2, *at, 4 * 4096));
  EXPECT_EQ(board.seen(*at, 4 * 4096), board.on_disk(2, 4 * 4096));
}

// ---- the other requests ----

TEST(VirtioBlkDriver, FlushesGetsTheIdAndDiscards) {
  VirtioDisk board{Platform::sev, {.serial = "cbit-disk-0"}};
  board.probe();
  EXPECT_EQ(board.driver->capacity(), VirtioDisk::disk_bytes / 512);
  EXPECT_TRUE(board.driver->flush(board.cpu()));
  EXPECT_EQ(board.driver->id(board.cpu()).value(), "cbit-disk-0");
  ASSERT_TRUE(board.driver->discard(board.cpu(), 4, 2));
  EXPECT_EQ(board.on_disk(4, 1024), Bytes(1024));
  ASSERT_TRUE(board.driver->write_zeroes(board.cpu(), 8, 1, true));
  EXPECT_EQ(board.on_disk(8, 512), Bytes(512));
  std::vector<std::uint32_t> types;
  for (const auto& request : board.log.all<VirtioRequest>()) types.push_back(request.type);
  EXPECT_THAT(types,
              ::testing::ElementsAre(spec::virtio_blk_type::flush, spec::virtio_blk_type::id,
                                     spec::virtio_blk_type::discard, spec::virtio_blk_type::write_zeroes));
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(VirtioBlkDriver, DoesNotSendWhatWasNotNegotiated) {
  VirtioDisk board{Platform::plain, {.flush = false, .discard = false, .write_zeroes = false}};
  board.probe();
  EXPECT_TRUE(board.driver->flush(board.cpu())) << "the device writes through";
  EXPECT_EQ(board.driver->discard(board.cpu(), 0, 1).error(), Errno::eopnotsupp);
  EXPECT_EQ(board.driver->write_zeroes(board.cpu(), 0, 1, false).error(), Errno::eopnotsupp);
  EXPECT_TRUE(board.log.all<VirtioRequest>().empty());
}

TEST(VirtioBlkDriver, RefusesRangesAndAlignmentsBeforeTheDeviceSeesThem) {
  VirtioDisk board{Platform::plain, {.blk_size = 4096}};
  board.probe();
  const auto buffer = board.buffer(8192, 14);
  const std::uint64_t sectors = board.driver->capacity();
  EXPECT_EQ(board.driver->read(board.cpu(), sectors, buffer.at, 4096).error(), Errno::eio);
  EXPECT_EQ(board.driver->read(board.cpu(), ~7ull, buffer.at, 4096).error(), Errno::eio);
  EXPECT_THAT(board.messages(), Contains(HasSubstr("access beyond end of device")));
  EXPECT_EQ(board.driver->read(board.cpu(), 1, buffer.at, 4096).error(), Errno::einval);
  EXPECT_EQ(board.driver->read(board.cpu(), 0, buffer.at, 512).error(), Errno::einval);
  EXPECT_EQ(board.driver->read(board.cpu(), 0, buffer.at + 16, 4096).error(), Errno::einval);
  EXPECT_EQ(board.driver->discard(board.cpu(), 1, 8).error(), Errno::einval);
  EXPECT_EQ(board.driver->read(board.cpu(), 0, VirtAddr{0x1000}, 4096).error(), Errno::efault);
  EXPECT_TRUE(board.driver->read(board.cpu(), 0, buffer.at, 0)) << "nothing to do";
  EXPECT_TRUE(board.log.all<VirtioRequest>().empty());
}

TEST(VirtioBlkDriver, AReadOnlyDiskRefusesWrites) {
  DmaBoard board{Platform::sev, small_pool, small_guest};
  dev::MemoryDisk disk{pattern_bytes(4096, 15), true};
  Device& parent = board.add_device();
  auto hardware = dev::VirtioBlk::create(board.machine->bus(),
                                         {.device = "vda", .requester = parent.requester}, disk, {});
  auto driver = VirtioBlkDriver::probe(*board.kernel, **hardware, parent);
  ASSERT_TRUE(driver);
  EXPECT_TRUE((*driver)->read_only());
  const auto buffer = board.buffer(512, 16);
  EXPECT_EQ((*driver)->write(board.cpu(), 0, buffer.at, 512).error(), Errno::eio);
  EXPECT_THAT(board.messages(), Contains(HasSubstr("Trying to write to read-only block-device")));
  EXPECT_TRUE((*driver)->read(board.cpu(), 0, buffer.at, 512));
}

// ---- when memory runs out ----

TEST(VirtioBlkDriver, AFullBouncePoolFailsTheRequestAndLeavesNothingMapped) {
  VirtioDisk board{Platform::sev};
  board.probe();
  const auto usage = board.dma().swiotlb()->usage();
  Device& hog = board.add_device();
  std::vector<DmaAddr> taken;
  const auto ballast = board.buffer(256 * 1024, 17);
  for (;;) {
    const DmaAddr mapped =
        board.dma().map_single(board.cpu(), hog, ballast.at, ballast.bytes, DmaDirection::to_device);
    if (board.dma().mapping_error(hog, mapped)) break;
    taken.push_back(mapped);
  }
  const std::uint64_t used = board.pool_used();
  ASSERT_GT(used, usage.io_tlb_used);

  const auto buffer = board.buffer(4096, 18);
  EXPECT_EQ(board.driver->read(board.cpu(), 0, buffer.at, buffer.bytes).error(), Errno::enomem);
  EXPECT_EQ(board.pool_used(), used) << "header, data and table were unmapped again";
  EXPECT_EQ(board.driver->queue().free_descriptors(), board.driver->queue().size());

  for (const DmaAddr mapped : taken)
    board.dma().unmap_single(board.cpu(), hog, mapped, ballast.bytes, DmaDirection::to_device);
  EXPECT_TRUE(board.driver->read(board.cpu(), 0, buffer.at, buffer.bytes))
      << "and it goes on when there is room";
  EXPECT_EQ(board.seen(buffer), board.on_disk(0, buffer.bytes));
}

}  // namespace
}  // namespace cbit::kernel
