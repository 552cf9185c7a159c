// Scatterlists and address space behind an IOMMU: merging into segments, and running out of IOVAs.
#include <gmock/gmock.h>

#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr DmaConfig translated{.iommu = IommuMode::translated, .iommu_strict = true};

struct Segment {
  std::uint64_t offset;  // from the first segment's page
  std::uint64_t bytes;
  friend bool operator==(const Segment&, const Segment&) = default;
};
void PrintTo(const Segment& s, std::ostream* os) { *os << "{" << s.offset << ", " << s.bytes << "}"; }

std::vector<Segment> segments(const std::vector<ScatterEntry>& sg, std::size_t count) {
  std::vector<Segment> found;
  for (std::size_t i = 0; i < count; ++i) found.push_back({sg[i].dma - sg[0].dma.page(), sg[i].dma_length});
  return found;
}

// What the device reads through the segments, one after the other.
Bytes gather(bus::DmaPort& port, const std::vector<ScatterEntry>& sg, std::size_t count) {
  Bytes all;
  for (std::size_t i = 0; i < count; ++i) {
    const Bytes part = DmaBoard::read_by(port, sg[i].dma, sg[i].dma_length);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST(DmaIommuSg, MergesWholePagesIntoOneSegmentWhereverTheyLie) {
  DmaBoard board{Platform::sme, translated};
  Device& dev = board.add_device(32);
  bus::DmaPort port = board.port(dev, 32);
  const Bytes data = pattern_bytes(3 * page_size, 1);
  std::vector<ScatterEntry> sg;
  for (const std::uint64_t at : {5 * gib, 2 * gib, 7 * gib}) {
    const auto part = ConstByteSpan{data}.subspan(sg.size() * page_size, page_size);
    sg.push_back({.phys = board.buffer(part, PhysAddr{at}).phys, .length = page_size});
  }
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 1u);
  EXPECT_THAT(segments(sg, 1), ElementsAre(Segment{0, 3 * page_size}));
  EXPECT_EQ(gather(port, sg, 1), data);
  EXPECT_EQ(board.log.all<DmaMapped>().back().phys, PhysAddr{5 * gib});
  board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
  Bytes one(1);
  EXPECT_FALSE(port.read(sg[0].dma, one));
  EXPECT_FALSE(port.read(sg[0].dma + 2 * page_size, one));
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaIommuSg, StartsANewSegmentWhereAnEntryDoesNotMeetAPageBoundary) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(8 * page_size, 2);
  std::vector<ScatterEntry> sg{
      {.phys = b.phys + 0x800, .length = 0x800},          // ends on a page boundary: merges with the next
      {.phys = b.phys + 2 * page_size, .length = 0x100},  // ends inside: does not
      {.phys = b.phys + 4 * page_size, .length = page_size},
      {.phys = b.phys + 6 * page_size + 4, .length = 16},  // starts inside
  };
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 3u);
  EXPECT_THAT(segments(sg, 3), ElementsAre(Segment{0x800, 0x900}, Segment{2 * page_size, page_size},
                                           Segment{3 * page_size + 4, 16}));
  EXPECT_EQ(sg[3].dma, dma_mapping_error);
  EXPECT_EQ(sg[3].dma_length, 0u);
}

TEST(DmaIommuSg, KeepsSegmentsBelowTheDevicesMaximum) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  dev.max_segment_size = 3 * page_size;
  const KernelBuffer b = board.buffer(7 * page_size, 3);
  std::vector<ScatterEntry> sg;
  for (std::uint64_t i = 0; i < 7; ++i) sg.push_back({.phys = b.phys + i * page_size, .length = page_size});
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 3u);
  EXPECT_THAT(segments(sg, 3), ElementsAre(Segment{0, 3 * page_size}, Segment{3 * page_size, 3 * page_size},
                                           Segment{6 * page_size, page_size}));
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(gather(port, sg, 3), board.seen(b));
}

TEST(DmaIommuSg, PadsSoThatNoSegmentCrossesTheDevicesBoundary) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  dev.seg_boundary_mask = 4 * page_size - 1;
  const KernelBuffer b = board.buffer(8 * page_size, 4);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 3 * page_size},
                               {.phys = b.phys + 4 * page_size, .length = 3 * page_size}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 2u);
  EXPECT_THAT(segments(sg, 2), ElementsAre(Segment{0, 3 * page_size}, Segment{4 * page_size, 3 * page_size}));
  for (const ScatterEntry& s : sg)
    EXPECT_EQ(s.dma.value() / (4 * page_size), (s.dma.value() + s.dma_length - 1) / (4 * page_size));
  board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaIommuSg, ReusesTheIovasOfAnUnmappedList) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(8 * page_size, 5);
  const auto cycle = [&] {
    std::vector<ScatterEntry> sg{{.phys = b.phys + 10, .length = 5000},
                                 {.phys = b.phys + 3 * page_size, .length = 9}};
    EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 2u);
    board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
    return sg[0].dma;
  };
  const DmaAddr first = cycle();
  EXPECT_EQ(cycle(), first);
}

// A device that drives 24 bits has 16 MiB of IOVAs, page 0 left out.
TEST(DmaIommuSg, FailsWhenNoIovaIsLeftBelowTheMask) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device(24);
  const PhysAddr memory{6 * gib};
  std::vector<DmaAddr> mapped;
  for (int i = 0; i < 15; ++i)
    mapped.push_back(board.dma().map_page(board.cpu(), dev, memory, 1 << 20, Direction::to_device));
  EXPECT_EQ(std::ranges::count(mapped, dma_mapping_error), 0);
  EXPECT_EQ(board.dma().map_page(board.cpu(), dev, memory, 1 << 20, Direction::to_device), dma_mapping_error);
  std::vector<ScatterEntry> sg(2, {.phys = memory, .length = 1 << 20});
  EXPECT_EQ(board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device).error(), Errno::enomem);
  EXPECT_EQ(sg[0].dma, dma_mapping_error);
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, 1 << 20), std::nullopt);
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, 1 << 20, true), std::nullopt);
  for (const DmaFailure reason : board.failures()) EXPECT_EQ(reason, DmaFailure::iova_exhausted);
  EXPECT_EQ(board.failures().size(), 4u);

  board.dma().unmap_page(board.cpu(), dev, mapped[7], 1 << 20, Direction::to_device);
  EXPECT_EQ(board.dma().map_page(board.cpu(), dev, memory, 1 << 20, Direction::to_device), mapped[7]);
}

// Two naturally aligned GiB fit below 4 GiB: 0 is never given, and the PCI hole is reserved.
TEST(DmaIommuSg, GivesUpOn32BitAddressesForGoodFrom6_6On) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10}) {
    DmaBoard board{Platform::plain, {.version = version, .iommu = IommuMode::translated}};
    Device& dev = board.add_device(64);
    const auto map = [&](std::uint64_t bytes) {
      return board.dma().map_page(board.cpu(), dev, PhysAddr{4 * gib}, bytes, Direction::to_device).value();
    };
    EXPECT_LT(map(gib), 4 * gib);
    EXPECT_LT(map(gib), 4 * gib);
    EXPECT_LT(map(page_size), 4 * gib);
    EXPECT_GT(map(gib), 4 * gib);
    EXPECT_EQ(map(page_size) < 4 * gib, version == KernelVersion::v6_1);
    EXPECT_EQ(contains(board.messages(), "Using 64-bit DMA addresses"), version != KernelVersion::v6_1);
  }
}

TEST(DmaIommuSg, SurvivesADriverThatUnmapsWhatItNeverMapped) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(2 * page_size, 6);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, page_size, Direction::to_device);
  const std::vector<std::uint64_t> addresses{0,     0x1000,    dma.value() + 7 * page_size,
                                             ~0ull, ~0ull - 1, 1ull << 63};
  for (const std::uint64_t address : addresses)
    for (const std::uint64_t bytes : {0ull, 1ull, 4096ull, 1ull << 40, ~0ull}) {
      board.dma().unmap_page(board.cpu(), dev, DmaAddr{address}, bytes, Direction::to_device);
      board.dma().unmap_resource(board.cpu(), dev, DmaAddr{address}, bytes, Direction::to_device);
      std::vector<ScatterEntry> sg{
          {.phys = b.phys, .length = 1, .dma = DmaAddr{address}, .dma_length = bytes}};
      board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
    }
  EXPECT_TRUE(contains(board.messages(), "at drivers/iommu/dma-iommu.c iommu_dma_unmap_page"));
}

TEST(DmaIommuSg, UnmapsOnlyWhatTheDriverNamed) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(2 * page_size, 7);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 2 * page_size, Direction::to_device);
  board.dma().unmap_single(board.cpu(), dev, dma, page_size, Direction::to_device);
  bus::DmaPort port = board.port(dev);
  Bytes one(1);
  EXPECT_FALSE(port.read(dma, one));
  EXPECT_TRUE(port.read(dma + page_size, one)) << "the rest of the mapping is left to the device";
}

// drivers/iommu/dma-iommu.c: iommu_dma_map_sg: s->length is an unsigned int when it has been aligned, too.
TEST(DmaIommuSg, RefusesAnEntryWhoseGranulesAreTooManyBytesForItsLength) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_12, KernelVersion::v7_2}) {
    DmaConfig config = translated;
    config.version = version;
    DmaBoard board{Platform::plain, config, {.memory_bytes = 12 * gib}};
    Device& dev = board.add_device();
    std::vector<ScatterEntry> sg{{.phys = PhysAddr{5 * gib}, .length = bit_mask(32)}};
    const auto mapped = board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device);
    EXPECT_EQ(mapped.error(), Errno::einval);
    sg[0].length = (std::uint64_t{1} << 32) - page_size;
    ASSERT_EQ(board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device), std::size_t{1});
    board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
  }
}

TEST(DmaIommuSg, RefusesSizesThatLeaveTheAddressSpace) {
  DmaBoard board{Platform::plain, translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(page_size, 8);
  for (const std::uint64_t bytes : {0ull, ~0ull, ~0ull - 4096, 1ull << 63})
    EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, bytes, Direction::to_device), dma_mapping_error)
        << bytes;
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 1ull << 32}};
  EXPECT_EQ(board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device).error(), Errno::einval);
  EXPECT_EQ(board.dma().map_sgtable(board.cpu(), dev, {}, Direction::to_device).error(), Errno::eio);
}

}  // namespace
}  // namespace cbit::kernel
