// The two-step API: drivers/iommu/dma-iommu.c of 7.2.13 and 7.3.4, dma_iova_try_alloc() to
// dma_iova_destroy().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dma_board.hpp"

namespace cbit::kernel {
namespace {

constexpr auto to_device = DmaDirection::to_device;
constexpr auto both_ways = DmaDirection::bidirectional;

DmaConfig translated_in(KernelVersion version) {
  return {.version = version, .iommu = IommuMode::translated};
}

struct IovaBoard : DmaBoard {
  explicit IovaBoard(KernelVersion version = KernelVersion::v7_3, bool untrusted = false,
                     Platform platform = Platform::plain)
      : DmaBoard{platform, translated_in(version)}, dev{add_device(64, 64, untrusted)} {
    dev.min_align_mask = 0xfff;
  }
  bool take(PhysAddr phys, std::uint64_t bytes) {
    return dma().iova_try_alloc(cpu(), dev, state, phys, bytes);
  }
  Result<void, Errno> link(PhysAddr phys, std::uint64_t offset, std::uint64_t bytes, DmaAttrs attrs = {}) {
    return dma().iova_link(cpu(), dev, state, phys, offset, bytes, both_ways, attrs);
  }
  void destroy(std::uint64_t mapped) { dma().iova_destroy(cpu(), dev, state, mapped, both_ways); }

  Device& dev;
  DmaIovaState state;
};

TEST(DmaIova, IsForDevicesBehindAnIommuAndFrom616On) {
  DmaBoard direct{Platform::sev, {.version = KernelVersion::v7_3}};
  DmaIovaState state;
  EXPECT_FALSE(direct.dma().iova_try_alloc(direct.cpu(), direct.add_device(), state, PhysAddr{}, page_size));
  EXPECT_FALSE(IovaBoard{KernelVersion::v6_12}.take(PhysAddr{}, page_size));
  EXPECT_TRUE(IovaBoard{KernelVersion::v6_19}.take(PhysAddr{}, page_size));
}

TEST(DmaIova, TakesSpaceWithTheFirstRangesPlaceInItsPage) {
  IovaBoard board;
  ASSERT_TRUE(board.take(PhysAddr{0x1'2345}, 3 * page_size));
  EXPECT_EQ(board.state.addr.page_offset(), 0x345u);
  EXPECT_EQ(board.state.bytes, 3 * page_size);
  const DmaAddr first = board.state.addr;
  board.dma().iova_free(board.dev, board.state);
  ASSERT_TRUE(board.take(PhysAddr{0x1'2345}, 3 * page_size));
  EXPECT_EQ(board.state.addr, first) << "what was freed is there again";
}

TEST(DmaIova, RefusesSizesThatCannotBe) {
  IovaBoard board;
  EXPECT_FALSE(board.take(PhysAddr{}, 0));
  EXPECT_FALSE(board.take(PhysAddr{}, 1ull << 63));
  EXPECT_EQ(board.link(PhysAddr{0x10'0000}, 0, page_size).error(), Errno::einval) << "there is no space";
  board.destroy(page_size);
}

TEST(DmaIova, LinksRangesOneAfterTheOther) {
  IovaBoard board{KernelVersion::v7_3, false, Platform::sme};
  const KernelBuffer a = board.buffer(2 * page_size, 1);
  const KernelBuffer b = board.buffer(page_size, 2);
  ASSERT_TRUE(board.take(b.phys + 256, 3 * page_size - 256));
  ASSERT_TRUE(board.link(b.phys + 256, 0, page_size - 256));
  ASSERT_TRUE(board.link(a.phys, page_size - 256, 2 * page_size));
  ASSERT_TRUE(board.dma().iova_sync(board.cpu(), board.dev, board.state, 0, board.state.bytes));
  auto port = board.port(board.dev);
  const Bytes first = board.seen(b.at + 256, page_size - 256);
  Bytes all = DmaBoard::read_by(port, board.state.addr, 3 * page_size - 256);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin()));
  EXPECT_EQ(Bytes(all.begin() + page_size - 256, all.end()), board.seen(a));
  EXPECT_EQ(board.log.all<DmaMapped>().size(), 2u);
  EXPECT_TRUE(board.log.all<DmaMapped>()[1].encrypted) << "the entry carries the C-bit";
  const DmaAddr at = board.state.addr;
  board.destroy(board.state.bytes);
  Bytes gone(8);
  EXPECT_FALSE(port.read(at, gone));
  EXPECT_EQ(board.log.all<DmaUnmapped>().size(), 2u);
}

TEST(DmaIova, RefusesARangeThatStartsWithinAPageBehindAnother) {
  IovaBoard board;
  const KernelBuffer b = board.buffer(4 * page_size, 1);
  ASSERT_TRUE(board.take(b.phys, 2 * page_size));
  EXPECT_EQ(board.link(b.phys + 64, page_size, 64).error(), Errno::eio);
  EXPECT_EQ(board.link(b.phys, 0, 3 * page_size).error(), Errno::einval);
  EXPECT_EQ(board.link(b.phys, page_size, ~std::uint64_t{0}).error(), Errno::einval);
  EXPECT_EQ(board.link(b.phys, 3 * page_size, page_size).error(), Errno::einval);
  ASSERT_TRUE(board.link(b.phys, 0, page_size));
  EXPECT_EQ(board.link(b.phys + page_size, 0, page_size).error(), Errno::eaddrinuse);
  board.destroy(page_size);
}

// iommu_dma_iova_link_swiotlb(): head, middle and tail.
TEST(DmaIova, BouncesThePartialPagesOfAnUntrustedDevice) {
  for (const KernelVersion version : {KernelVersion::v6_19, KernelVersion::v7_2, KernelVersion::v7_3}) {
    IovaBoard board{version, true};
    const KernelBuffer b = board.buffer(4 * page_size, 1);
    ASSERT_TRUE(board.take(b.phys + 1000, 3 * page_size));
    ASSERT_TRUE(board.link(b.phys + 1000, 0, 3 * page_size));
    EXPECT_TRUE(board.state.swiotlb);
    const auto slots = board.log.all<SwiotlbAllocated>();
    ASSERT_EQ(slots.size(), 2u);
    EXPECT_EQ(slots[0].orig, b.phys + 1000);
    EXPECT_EQ(slots[1].orig, b.phys + 3 * page_size);
    EXPECT_EQ(board.target(board.dev, board.state.addr + 3096), b.phys + page_size) << "the middle is itself";
    auto port = board.port(board.dev);
    EXPECT_EQ(DmaBoard::read_by(port, board.state.addr, 3 * page_size),
              board.seen(b.at + 1000, 3 * page_size));
    const Bytes written = pattern_bytes(3 * page_size, 9);
    ASSERT_TRUE(port.write(board.state.addr, written));
    board.destroy(3 * page_size);
    EXPECT_EQ(board.seen(b.at + 1000, 3 * page_size), written);
    EXPECT_EQ(board.slots_used(), 0u);
  }
}

TEST(DmaIova, BouncesARangeWithinOnePageOnce) {
  IovaBoard board{KernelVersion::v7_3, true};
  const KernelBuffer b = board.buffer(page_size, 1);
  ASSERT_TRUE(board.take(b.phys + 100, 200));
  ASSERT_TRUE(board.link(b.phys + 100, 0, 200));
  EXPECT_EQ(board.log.all<SwiotlbAllocated>().size(), 1u);
  board.destroy(200);
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaIova, GivesBackTheHeadsBounceWhenThePoolIsFullForTheTail) {
  IovaBoard board{KernelVersion::v7_3, true};
  const KernelBuffer b = board.buffer(4 * page_size, 1);
  ASSERT_TRUE(board.take(b.phys + 1000, 3 * page_size));
  // A pool of 1024 slots with room for one page more.
  Device& hog = board.add_device(64, 64, true);
  const KernelBuffer pages = board.buffer(page_size, 2);
  while (board.slots_used() + 2 < small_pool_slots)
    ASSERT_NE(board.dma().map_single(board.cpu(), hog, pages.at + 8, 64, to_device), dma_mapping_error);
  const std::uint64_t used = board.slots_used();
  EXPECT_EQ(board.link(b.phys + 1000, 0, 3 * page_size).error(), Errno::enomem);
  EXPECT_EQ(board.slots_used(), used);
  EXPECT_TRUE(board.state.links.empty());
  board.destroy(0);
}

// iommu_map_nosync(): -EINVAL of drivers with tables of their own, -ENXIO of the generic page tables.
TEST(DmaIova, CannotLinkABounceThatLiesElsewhereInItsPage) {
  for (const auto& [version, error] :
       {std::pair{KernelVersion::v6_19, Errno::einval}, std::pair{KernelVersion::v7_2, Errno::enxio}}) {
    IovaBoard board{version, true};
    board.dev.min_align_mask = 0;
    const KernelBuffer b = board.buffer(page_size, 1);
    ASSERT_TRUE(board.take(b.phys + 1000, 64));
    EXPECT_EQ(board.link(b.phys + 1000, 0, 64).error(), error);
    EXPECT_EQ(board.slots_used(), 0u);
    board.destroy(0);
  }
}

TEST(DmaIova, RefusesWhatMustNotBounceAndWouldHaveTo) {
  for (const KernelVersion version : {KernelVersion::v6_19, KernelVersion::v7_2, KernelVersion::v7_3}) {
    IovaBoard board{version, true};
    ASSERT_TRUE(board.take(PhysAddr{0xfee0'0040}, 4));
    EXPECT_EQ(board.link(PhysAddr{0xfee0'0040}, 0, 4, dma_attr::mmio).error(), Errno::eperm);
    EXPECT_EQ(board.log.all<DmaMapFailed>().back().reason, DmaFailure::mmio_unaligned);
    board.destroy(0);
  }
}

TEST(DmaIova, TakesNoRangeThatMustNotBounceBehindOneThatHas) {
  IovaBoard board{KernelVersion::v7_3, true};
  const KernelBuffer b = board.buffer(2 * page_size, 1);
  ASSERT_TRUE(board.take(b.phys + 96, 2 * page_size - 96));
  ASSERT_TRUE(board.link(b.phys + 96, 0, page_size - 96));
  EXPECT_EQ(board.link(b.phys + page_size, page_size - 96, page_size, dma_attr::require_coherent).error(),
            Errno::eopnotsupp);
  board.destroy(page_size - 96);
}

// dma_iova_destroy() of 7.2 with a flush queue; 7.3 flushes at once.
TEST(DmaIova, OfALazyDomainIsFlushedLaterUntil73) {
  for (const KernelVersion version : {KernelVersion::v7_2, KernelVersion::v7_3}) {
    IovaBoard board{version};
    const KernelBuffer b = board.buffer(page_size, 1);
    ASSERT_TRUE(board.take(b.phys, page_size));
    ASSERT_TRUE(board.link(b.phys, 0, page_size));
    auto port = board.port(board.dev);
    const DmaAddr at = board.state.addr;
    EXPECT_EQ(DmaBoard::read_by(port, at, 8).size(), 8u);
    board.destroy(page_size);
    Bytes late(8);
    EXPECT_EQ(port.read(at, late).has_value(), version == KernelVersion::v7_2);
  }
}

}  // namespace
}  // namespace cbit::kernel
