// dma_alloc_pages() and dma_free_pages(): kernel/dma/mapping.c, direct.c, pool.c, ops_helpers.c.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dma_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::HasSubstr;

constexpr auto bidirectional = DmaDirection::bidirectional;

// arch/x86/include/asm/pgtable_64_types.h: VMEMMAP_START of four levels; sizeof(struct page) is 64.
constexpr std::uint64_t vmemmap_start = 0xffff'ea00'0000'0000;
// arch/x86/include/asm/page_64_types.h: __PAGE_OFFSET_BASE_L4
constexpr std::uint64_t page_offset = 0xffff'8880'0000'0000;

DmaConfig config_of(KernelVersion version, bool direct_remap = false) {
  return {.version = version, .direct_remap = direct_remap};
}

TEST(DmaPages, AreTheStructPageOfZeroedMemoryThatTheDeviceReaches) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_19, KernelVersion::v7_3}) {
    DmaBoard board{Platform::sev, config_of(version)};
    Device& dev = board.add_device();
    const std::uint64_t converted = board.kernel->mm().conversion_cost().pages;
    const DmaPages pages = board.dma().alloc_pages(board.cpu(), dev, 5000, bidirectional).value();
    EXPECT_EQ(pages.bytes, 2 * page_size);
    const PhysAddr phys = board.target(dev, pages.dma);
    EXPECT_EQ(pages.page.value(), vmemmap_start + phys.value() / page_size * 64);
    const VirtAddr at = board.kernel->mm().page_address(pages.page);
    EXPECT_EQ(at.value(), page_offset + phys.value());
    EXPECT_EQ(board.seen(at, pages.bytes), Bytes(pages.bytes));
    EXPECT_EQ(board.raw(phys, pages.bytes), Bytes(pages.bytes)) << "shared: the host sees the zeros";
    board.dma().free_pages(board.cpu(), dev, pages, bidirectional);
    EXPECT_EQ(board.kernel->mm().conversion_cost().pages, converted + 4) << "there and back";
  }
}

// kernel/dma/direct.c: dma_direct_alloc_pages() returns what dma_direct_alloc_from_pool() returns. Read:
// 6.1.192, 6.12.117, 7.2.13 and 7.3.4 have the fix, Debian's built 6.19.10 has not.
TEST(DmaPages, OfAnAtomicPoolAreTheMemorysAddressUntilThatWasFixed) {
  for (const auto& [version, fixed] :
       {std::pair{KernelVersion::v6_1, true}, std::pair{KernelVersion::v6_6, false},
        std::pair{KernelVersion::v6_10, false}, std::pair{KernelVersion::v6_12, true},
        std::pair{KernelVersion::v6_19, false}, std::pair{KernelVersion::v7_2, true},
        std::pair{KernelVersion::v7_3, true}}) {
    DmaBoard board{Platform::sev, config_of(version)};
    Device& dev = board.add_device();
    const DmaPages pages = board.dma().alloc_pages(board.cpu(), dev, page_size, bidirectional, true).value();
    const std::uint64_t phys = board.target(dev, pages.dma).value();
    EXPECT_EQ(pages.page.value(), fixed ? vmemmap_start + phys / page_size * 64 : page_offset + phys);
    const VirtAddr at = board.kernel->mm().page_address(pages.page);
    EXPECT_EQ(board.cpu().write(at, Bytes(8)).has_value(), fixed);
    const DmaPagesReturned told = board.log.all<DmaPagesReturned>().at(0);
    EXPECT_EQ(told.page == told.struct_page, fixed);
    board.log.clear();
    board.dma().free_pages(board.cpu(), dev, pages, bidirectional);
    EXPECT_EQ(board.messages().empty(), fixed);
  }
}

TEST(DmaPages, OfAPlainMachineNeverComeFromAPool) {
  DmaBoard board{Platform::plain, config_of(KernelVersion::v6_19)};
  Device& dev = board.add_device();
  const DmaPages pages = board.dma().alloc_pages(board.cpu(), dev, page_size, bidirectional, true).value();
  EXPECT_EQ(pages.page.value(), vmemmap_start + pages.dma.value() / page_size * 64);
}

// kernel/dma/pool.c: dma_free_from_pool_page() of 7.3 looks for the page. Before, the address of the direct
// map is none of a remapped pool's: the page is encrypted, and given away.
TEST(DmaPages, OfARemappedPoolAreRecognizedFrom73On) {
  for (const KernelVersion version : {KernelVersion::v6_12, KernelVersion::v7_2, KernelVersion::v7_3}) {
    DmaBoard board{Platform::sev, config_of(version, true)};
    Device& dev = board.add_device();
    PageAllocator& allocator = board.kernel->mm().page_allocator();
    const std::uint64_t free = allocator.free_pages();
    const DmaPages pages =
        board.dma().alloc_pages(board.cpu(), dev, 3 * page_size, bidirectional, true).value();
    const PhysAddr phys = board.target(dev, pages.dma);
    board.dma().free_pages(board.cpu(), dev, pages, bidirectional);
    const bool recognized = version == KernelVersion::v7_3;
    EXPECT_EQ(allocator.free_pages() - free, recognized ? 0u : 3u);
    EXPECT_EQ(allocator.allocate_at(phys, 3), !recognized);
  }
}

TEST(DmaPages, BehindAnIommuArePrivateInAGuestToo) {
  DmaBoard board{Platform::sev, {.version = KernelVersion::v7_3, .iommu = IommuMode::translated}};
  Device& dev = board.add_device();
  const DmaPages pages = board.dma().alloc_pages(board.cpu(), dev, page_size, bidirectional).value();
  const VirtAddr at = board.kernel->mm().page_address(pages.page);
  const Bytes text = pattern_bytes(page_size, 3);
  ASSERT_TRUE(board.cpu().write(at, text));
  auto port = board.port(dev);
  EXPECT_NE(DmaBoard::read_by(port, pages.dma, page_size), text);
  board.dma().free_pages(board.cpu(), dev, pages, bidirectional);
  Bytes gone(8);
  EXPECT_FALSE(port.read(pages.dma, gone));
}

TEST(DmaPages, AreRefusedWhereThereCanBeNone) {
  DmaBoard board{Platform::plain, config_of(KernelVersion::v7_3)};
  Device& dev = board.add_device();
  EXPECT_FALSE(board.dma().alloc_pages(board.cpu(), dev, 0, bidirectional));
  EXPECT_FALSE(board.dma().alloc_pages(board.cpu(), dev, ~std::uint64_t{0}, bidirectional));
  EXPECT_FALSE(board.dma().alloc_pages(board.cpu(), dev, 8 << 20, bidirectional)) << "beyond MAX_PAGE_ORDER";
  dev.coherent_dma_mask = 0;
  EXPECT_FALSE(board.dma().alloc_pages(board.cpu(), dev, page_size, bidirectional));
  EXPECT_THAT(board.messages().back(), HasSubstr("__dma_alloc_pages"));
  board.dma().free_pages(board.cpu(), dev, {VirtAddr{0x1234}, DmaAddr{0x1000}, page_size}, bidirectional);
}

}  // namespace
}  // namespace cbit::kernel
