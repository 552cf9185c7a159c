// dma-debug: each mistake of a driver in the kernel's words, none for a driver that makes none, and no
// effect.
#include <gmock/gmock.h>

#include "kernel/dma/debug.hpp"
#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::ElementsAre;
using testing::IsEmpty;

// A machine without encryption, so that DMA addresses are physical ones and known: the buffer's.
class DmaDebugTest : public testing::Test {
 protected:
  DmaAddr map(std::uint64_t offset = 0, std::uint64_t bytes = 1000,
              Direction direction = Direction::bidirectional, bool check = true) {
    const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at + offset, bytes, direction);
    if (check) {
      EXPECT_FALSE(board.dma().mapping_error(dev, dma));
    }
    return dma;
  }
  void unmap(DmaAddr dma, std::uint64_t bytes = 1000, Direction direction = Direction::bidirectional) {
    board.dma().unmap_single(board.cpu(), dev, dma, bytes, direction);
  }
  std::vector<DmaDebugKind> kinds() const {
    std::vector<DmaDebugKind> found;
    for (const auto& report : board.log.all<DmaDebugReport>()) found.push_back(report.kind);
    return found;
  }
  static std::string said(std::string_view text) {
    return "DMA-API: testdrv 0000:00:01.0: " + std::string{text};
  }

  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  KernelBuffer b = board.buffer(pattern_bytes(16 * page_size, 1), PhysAddr{0x0400'0000});
};

TEST_F(DmaDebugTest, IsSilentAboutADriverThatMakesNoMistake) {
  for (const Direction direction : {Direction::bidirectional, Direction::to_device, Direction::from_device}) {
    const DmaAddr dma = map(0, 1000, direction);
    if (direction != Direction::to_device)
      board.dma().sync_single_for_cpu(board.cpu(), dev, dma + 8, 16, direction);
    if (direction != Direction::from_device)
      board.dma().sync_single_for_device(board.cpu(), dev, dma + 8, 16, direction);
    unmap(dma, 1000, direction);
  }
  const auto coherent = board.dma().alloc(board.cpu(), dev, 100).value();
  board.dma().free(board.cpu(), dev, coherent);
  EXPECT_EQ(board.dma().release(dev), 0u);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST_F(DmaDebugTest, ReportsMappingsThatOutliveTheirDriver) {
  map(0, 1000);
  const auto coherent = board.dma().alloc(board.cpu(), dev, 100).value();
  EXPECT_EQ(board.dma().release(dev), 2u);
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::leak));
  // The last one in the order of the hash: bits 26:13 of the address.
  const bool coherent_last = (coherent.dma.value() >> 13) % 16384 > (0x0400'0000ull >> 13) % 16384;
  const std::string details = coherent_last
                                  ? "[size=100 bytes] [mapped with DMA_BIDIRECTIONAL] [mapped as coherent]"
                                  : "[size=1000 bytes] [mapped with DMA_BIDIRECTIONAL] [mapped as single]";
  EXPECT_TRUE(contains(board.complaints(),
                       said("device driver has pending DMA allocations while released from device [count=2]\n"
                            "One of leaked entries details: [device address=0x")));
  EXPECT_TRUE(contains(board.complaints(), details));
}

TEST_F(DmaDebugTest, ReportsTheUnmapOfWhatIsNotMapped) {
  const DmaAddr dma = map();
  unmap(dma);
  unmap(dma);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver tries to free DMA memory it has not allocated "
                               "[device address=0x0000000004000000] [size=1000 bytes]")));
}

TEST_F(DmaDebugTest, ReportsTheUnmapOfAnErrorCookie) {
  unmap(dma_mapping_error);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver tries to free an invalid DMA memory address")));
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::invalid_free));
}

TEST_F(DmaDebugTest, ReportsAnotherSize) {
  unmap(map(), 999);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver frees DMA memory with different size [device address="
                               "0x0000000004000000] [map size=1000 bytes] [unmap size=999 bytes]")));
}

TEST_F(DmaDebugTest, ReportsAnotherDirection) {
  unmap(map(0, 1000, Direction::to_device), 1000, Direction::from_device);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver frees DMA memory with different direction [device address="
                               "0x0000000004000000] [size=1000 bytes] [mapped with DMA_TO_DEVICE] "
                               "[unmapped with DMA_FROM_DEVICE]")));
}

TEST_F(DmaDebugTest, ReportsAnotherFunctionInTheSpellingOfTheVersion) {
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 1000}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::bidirectional), 1u);
  unmap(sg[0].dma);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver frees DMA memory with wrong function [device address="
                               "0x0000000004000000] [size=1000 bytes] [mapped as scather-gather] "
                               "[unmapped as single]")));
}

TEST_F(DmaDebugTest, ReportsTheUnmapOfAResourceAsPage) {
  const DmaAddr dma =
      board.dma().map_resource(board.cpu(), dev, PhysAddr{0xd000'0000}, 1000, Direction::bidirectional);
  EXPECT_FALSE(board.dma().mapping_error(dev, dma));
  unmap(dma);
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::wrong_function));
  EXPECT_TRUE(contains(board.complaints(), "[mapped as resource] [unmapped as single]"));
}

TEST_F(DmaDebugTest, ReportsCoherentMemoryThatIsFreedAtAnotherCpuAddress) {
  auto coherent = board.dma().alloc(board.cpu(), dev, 4096).value();
  const std::uint64_t phys = coherent.dma.value();
  coherent.cpu += 64;
  board.dma().free(board.cpu(), dev, coherent);
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::wrong_cpu_address));
  char addresses[128];
  std::snprintf(addresses, sizeof addresses, "[cpu alloc address=0x%016lx] [cpu free address=0x%016lx]", phys,
                phys + 64);
  EXPECT_TRUE(
      contains(board.complaints(), said("device driver frees DMA memory with different CPU address")));
  EXPECT_TRUE(contains(board.complaints(), addresses));
}

// kernel/dma/debug.c: check_unmap() of 6.12 prints "0x%pa", and %pa has a prefix of its own.
TEST(DmaDebugVersions, PrintTheCpuAddressWithOnePrefixAndLaterWithTwo) {
  for (const auto& [version, prefix] : {std::pair{KernelVersion::v6_1, "address=0x0000"},
                                        std::pair{KernelVersion::v6_12, "address=0x0x0000"}}) {
    DmaBoard board{Platform::plain, {.version = version}};
    Device& dev = board.add_device();
    auto coherent = board.dma().alloc(board.cpu(), dev, 4096).value();
    coherent.cpu += 64;
    board.dma().free(board.cpu(), dev, coherent);
    EXPECT_THAT(board.complaints(), ElementsAre(testing::HasSubstr(std::string{"[cpu alloc "} + prefix)));
  }
}

// kernel/dma/debug.c: check_unmap() since 7.1 (DMA_ATTR_UNMAP_VALID).
TEST(DmaDebugVersions, CompareTheAttributesOfMapAndUnmapFrom71On) {
  for (const KernelVersion version : {KernelVersion::v6_19, KernelVersion::v7_2, KernelVersion::v7_3}) {
    DmaBoard board{Platform::plain, {.version = version}};
    Device& dev = board.add_device();
    const KernelBuffer b = board.buffer(pattern_bytes(page_size, 1), PhysAddr{0x0400'0000});
    const auto map_and_unmap = [&](DmaAttrs mapped, DmaAttrs unmapped) {
      const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 1000, Direction::to_device, mapped);
      EXPECT_FALSE(board.dma().mapping_error(dev, dma));
      board.dma().unmap_single(board.cpu(), dev, dma, 1000, Direction::to_device, unmapped);
    };
    map_and_unmap(dma_attr::skip_cpu_sync | dma_attr::no_warn | dma_attr::weak_ordering, {});
    EXPECT_THAT(board.complaints(), IsEmpty()) << "these may differ";
    map_and_unmap(dma_attr::privileged | dma_attr::no_warn, dma_attr::skip_cpu_sync);
    if (version == KernelVersion::v6_19) {
      EXPECT_THAT(board.complaints(), IsEmpty());
      continue;
    }
    EXPECT_THAT(board.complaints(),
                ElementsAre("DMA-API: testdrv 0000:00:01.0: device driver frees DMA memory with different "
                            "attributes [device address=0x0000000004000000] [size=1000 bytes] "
                            "[mapped with 0x300] [unmapped with 0x20]"));
  }
}

// kernel/dma/debug.c: debug_dma_alloc_pages() of 6.12; before, dma_alloc_pages() called debug_dma_map_page(),
// whose mappings want to be checked.
TEST(DmaDebugVersions, TakeAllocatedPagesForAMappingUntil612) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_12}) {
    DmaBoard board{Platform::plain, {.version = version}};
    Device& dev = board.add_device();
    const DmaPages pages = board.dma().alloc_pages(board.cpu(), dev, page_size, Direction::to_device).value();
    board.dma().free_pages(board.cpu(), dev, pages, Direction::to_device);
    if (version == KernelVersion::v6_1)
      EXPECT_THAT(board.complaints(), ElementsAre(testing::HasSubstr("failed to check map error")));
    else
      EXPECT_THAT(board.complaints(), IsEmpty());
    const DmaPages leaked =
        board.dma().alloc_pages(board.cpu(), dev, page_size, Direction::to_device).value();
    EXPECT_FALSE(board.dma().mapping_error(dev, leaked.dma));
    EXPECT_EQ(board.dma().release(dev), 1u);
    const char* const type =
        version == KernelVersion::v6_1 ? "[mapped as single]" : "[mapped as noncoherent]";
    EXPECT_TRUE(contains(board.complaints(), type));
  }
}

TEST_F(DmaDebugTest, ReportsTheWrongNumberOfEntriesAtUnmapAndSync) {
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 100}, {.phys = b.phys + page_size, .length = 100}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::from_device), 2u);
  board.dma().sync_sg_for_cpu(board.cpu(), dev, std::span{sg}.first(1), Direction::from_device);
  board.dma().unmap_sg(board.cpu(), dev, std::span{sg}.first(1), Direction::from_device);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver syncs DMA sg list with different entry count [map count=2] "
                               "[sync count=1]"),
                          said("device driver frees DMA sg list with different entry count [map count=2] "
                               "[unmap count=1]")));
}

TEST_F(DmaDebugTest, ReportsAMappingWhoseErrorWasNotChecked) {
  unmap(map(0, 1000, Direction::to_device, false), 1000, Direction::to_device);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver failed to check map error[device address=0x0000000004000000] "
                               "[size=1000 bytes] [mapped as single]")));
}

TEST_F(DmaDebugTest, ReportsOverlappingMappingsUnlessTheDeviceOnlyReads) {
  const std::string overlap = said("cacheline tracking EEXIST, overlapping mappings aren't supported");
  map(0, 100, Direction::to_device);
  map(0, 100, Direction::to_device);
  EXPECT_THAT(board.complaints(), IsEmpty());
  map(0, 100, Direction::from_device);
  EXPECT_THAT(board.complaints(), IsEmpty()) << "the first mapping that writes a cache line owns it";
  map(32, 10, Direction::from_device);
  EXPECT_THAT(board.complaints(), ElementsAre(overlap));
  const DmaAddr skipped =
      board.dma().map_single(board.cpu(), dev, b.at, 10, Direction::from_device, dma_attr::skip_cpu_sync);
  EXPECT_NE(skipped, dma_mapping_error);
  EXPECT_EQ(board.complaints().size(), 1u) << "a driver that skips syncs may know what it does";
  map(64, 10, Direction::from_device);
  EXPECT_EQ(board.complaints().size(), 1u) << "only the first cache line of a mapping is tracked";
}

TEST_F(DmaDebugTest, CountsNoMoreThanSevenOverlaps) {
  for (int i = 0; i < 12; ++i) map(0, 10 + static_cast<std::uint64_t>(i), Direction::from_device);
  EXPECT_THAT(board.messages(),
              ElementsAre("DMA-API: exceeded 7 overlapping mappings of cacheline 0x0000000000100000"));
  for (int i = 0; i < 12; ++i)
    unmap(DmaAddr{b.phys.value()}, 10 + static_cast<std::uint64_t>(i), Direction::from_device);
  board.log.clear();
  map(0, 10, Direction::from_device);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST_F(DmaDebugTest, ReportsTheSyncOfWhatIsNotMapped) {
  const DmaAddr dma = map();
  board.dma().sync_single_for_cpu(board.cpu(), dev, dma + 999, 2, Direction::bidirectional);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver tries to sync DMA memory it has not allocated "
                               "[device address=0x00000000040003e7] [size=2 bytes]")));
}

TEST_F(DmaDebugTest, FindsTheMappingThatASyncLiesInFarBehindItsStart) {
  const DmaAddr dma = map(0, 16 * page_size);
  board.dma().sync_single_for_cpu(board.cpu(), dev, dma + 15 * page_size, 100, Direction::bidirectional);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST_F(DmaDebugTest, ReportsASyncThatWrapsAroundTheAddressSpace) {
  const DmaAddr dma = map();
  board.dma().sync_single_for_cpu(board.cpu(), dev, dma, ~std::uint64_t{0}, Direction::bidirectional);
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver syncs DMA memory outside allocated range [device address="
                               "0x0000000004000000] [allocation size=1000 bytes] "
                               "[sync offset+size=18446744073709551615]")));
}

TEST_F(DmaDebugTest, ReportsSyncsInTheWrongDirection) {
  const DmaAddr to_device = map(0, 100, Direction::to_device);
  const DmaAddr from_device = map(page_size, 100, Direction::from_device);
  board.dma().sync_single_for_cpu(board.cpu(), dev, to_device, 100, Direction::bidirectional);
  board.dma().sync_single_for_device(board.cpu(), dev, from_device, 100, Direction::to_device);
  const std::string first =
      "[device address=0x0000000004000000] [size=100 bytes] [mapped with DMA_TO_DEVICE] "
      "[synced with DMA_BIDIRECTIONAL]";
  const std::string second =
      "[device address=0x0000000004001000] [size=100 bytes] [mapped with DMA_FROM_DEVICE] "
      "[synced with DMA_TO_DEVICE]";
  EXPECT_THAT(board.complaints(),
              ElementsAre(said("device driver syncs DMA memory with different direction " + first),
                          said("device driver syncs device read-only DMA memory for cpu " + first),
                          said("device driver syncs DMA memory with different direction " + second),
                          said("device driver syncs device write-only DMA memory to device " + second)));
}

TEST_F(DmaDebugTest, ReportsSegmentsThatTheDeviceDoesNotSupport) {
  dev.max_segment_size = 4096;
  dev.seg_boundary_mask = 0xffff;
  std::vector<ScatterEntry> sg{{.phys = b.phys + 0xf000, .length = 4097}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 1u);
  EXPECT_THAT(
      board.complaints(),
      ElementsAre(said("mapping sg segment longer than device claims to support [len=4097] [max=4096]"),
                  said("mapping sg segment across boundary [start=0x000000000400f000] "
                       "[end=0x0000000004010000] [boundary=0x000000000000ffff]")));
}

TEST_F(DmaDebugTest, ReportsMemoryThatIsNotInTheDirectMap) {
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, VirtAddr{0x7f00'0000'1000}, 16, Direction::to_device),
            dma_mapping_error);
  EXPECT_THAT(
      board.complaints(),
      ElementsAre(said("device driver maps memory from invalid area [addr=00007f0000001000] [len=16]")));
  const VirtAddr hole = board.kernel->mm().phys_to_virt(PhysAddr{0xd000'0000});
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, hole, 16, Direction::to_device), dma_mapping_error);
  EXPECT_EQ(board.complaints().size(), 2u);
}

TEST_F(DmaDebugTest, ReportsADirectionThatDoesNotExist) {
  for (const auto direction : {Direction::none, static_cast<Direction>(77)}) {
    EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 16, direction), dma_mapping_error);
    EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::invalid_direction));
    EXPECT_TRUE(contains(board.messages(), "kernel BUG at kernel/dma/mapping.c!"));
    board.log.clear();
  }
}

TEST_F(DmaDebugTest, ReportsTheSameForEachDirectionArgument) {
  const auto none = Direction::none;
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 16}};
  Dma& dma = board.dma();
  EXPECT_EQ(dma.map_sgtable(board.cpu(), dev, sg, none).error(), Errno::einval);
  EXPECT_EQ(dma.map_resource(board.cpu(), dev, machine::pci_hole, 16, none), dma_mapping_error);
  dma.unmap_single(board.cpu(), dev, DmaAddr{}, 16, none);
  dma.unmap_sg(board.cpu(), dev, sg, none);
  dma.unmap_resource(board.cpu(), dev, DmaAddr{}, 16, none);
  dma.sync_single_for_cpu(board.cpu(), dev, DmaAddr{}, 16, none);
  dma.sync_single_for_device(board.cpu(), dev, DmaAddr{}, 16, none);
  dma.sync_sg_for_cpu(board.cpu(), dev, sg, none);
  dma.sync_sg_for_device(board.cpu(), dev, sg, none);
  EXPECT_THAT(kinds(), testing::AllOf(testing::SizeIs(9), testing::Each(DmaDebugKind::invalid_direction)));
}

// Two imperfect candidates at one address count as none: the kernel's best-fit search.
TEST_F(DmaDebugTest, DoesNotGuessBetweenTwoMappingsOfOneAddress) {
  map(0, 100, Direction::to_device);
  map(0, 200, Direction::to_device);
  unmap(DmaAddr{b.phys.value()}, 300, Direction::to_device);
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::double_unmap));
  board.log.clear();
  unmap(DmaAddr{b.phys.value()}, 200, Direction::to_device);
  unmap(DmaAddr{b.phys.value()}, 100, Direction::to_device);
  EXPECT_THAT(kinds(), IsEmpty());
}

TEST_F(DmaDebugTest, TellsDevicesApart) {
  Device& other = board.add_device();
  const DmaAddr dma = map();
  board.dma().unmap_single(board.cpu(), other, dma, 1000, Direction::bidirectional);
  EXPECT_THAT(kinds(), ElementsAre(DmaDebugKind::double_unmap));
  EXPECT_TRUE(contains(board.complaints(), "DMA-API: testdrv 0000:00:02.0: "));
  EXPECT_EQ(board.dma().release(other), 0u);
  EXPECT_EQ(board.dma().release(dev), 1u);
}

TEST_F(DmaDebugTest, NamesTheBusWhereThereIsNoDriver) {
  Device bare;
  bare.is_pci = false;
  bare.name = "serial0";
  Device& serial = board.kernel->add_device(bare);
  board.dma().unmap_single(board.cpu(), serial, dma_mapping_error, 1, Direction::to_device);
  EXPECT_THAT(
      board.complaints(),
      ElementsAre("DMA-API: platform serial0: device driver tries to free an invalid DMA memory address"));
}

TEST(DmaDebug, SpellsScatterGatherAsTheVersionDoes) {
  DmaBoard board{Platform::plain, {.version = KernelVersion::v6_10}};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(100, 1);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 100}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 1u);
  EXPECT_EQ(board.dma().release(dev), 1u);
  EXPECT_TRUE(contains(board.complaints(), "[mapped as scatter-gather]"));
}

// show_num_errors is 1, and all_errors off: err_printk() counts what comes later.
TEST(DmaDebug, PrintsTheFirstErrorOnlyUnlessAllAreAskedFor) {
  for (const bool all : {false, true}) {
    DmaBoard board{Platform::plain, {.debug_all_errors = all}};
    Device& dev = board.add_device();
    for (int i = 0; i < 2; ++i)
      board.dma().unmap_single(board.cpu(), dev, dma_mapping_error, 1, Direction::to_device);
    const auto reports = board.log.all<DmaDebugReport>();
    ASSERT_EQ(reports.size(), 2u);
    EXPECT_TRUE(reports[0].printed);
    EXPECT_EQ(reports[1].printed, all);
  }
}

TEST(DmaDebug, SaysNothingWhenItIsOff) {
  DmaBoard board{Platform::sev, {.debug = false}};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(100, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 100, Direction::to_device);
  board.dma().unmap_single(board.cpu(), dev, dma, 99, Direction::from_device);
  board.dma().unmap_single(board.cpu(), dev, dma, 99, Direction::from_device);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 1, Direction::none), dma_mapping_error);
  EXPECT_EQ(board.dma().release(dev), 0u);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

}  // namespace
}  // namespace cbit::kernel
