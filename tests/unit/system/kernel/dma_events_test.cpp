// What the DMA layer tells those who listen: its events with their fields, and each decision with its source.
#include <gmock/gmock.h>

#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t one_page = 4096;

template <class Payload>
Payload only(const DmaBoard& board) {
  const auto all = board.log.all<Payload>();
  EXPECT_EQ(all.size(), 1u) << Payload::name;
  return all.empty() ? Payload{} : all.front();
}

// Indices of the events of one kind, to compare their order.
template <class Payload>
std::size_t position(const DmaBoard& board) {
  const auto& events = board.log.events();
  const auto found = std::ranges::find_if(
      events, [](const Event& event) { return std::holds_alternative<Payload>(event.payload); });
  return static_cast<std::size_t>(found - events.begin());
}

TEST(DmaEvents, TraceTheOriginalsAddressBeforeSlotsAreSought) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device(40);
  const KernelBuffer b = board.buffer(one_page, 1);
  ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::to_device),
            dma_mapping_error);
  const auto bounced = only<SwiotlbBounced>(board);
  EXPECT_EQ(bounced.device, dev.name_id);
  EXPECT_EQ(bounced.dma_mask, bit_mask(40));
  EXPECT_EQ(bounced.dev_addr.value(), b.phys.value() | c_bit_47)
      << "phys_to_dma() of the original, not the bounce";
  EXPECT_EQ(bounced.size, one_page);
  EXPECT_TRUE(bounced.force);
  EXPECT_LT(position<SwiotlbBounced>(board), position<SwiotlbAllocated>(board));
}

TEST(DmaEvents, TraceFailedBouncesToo) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(300 << 10, 1);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 300 << 10, Direction::to_device),
            dma_mapping_error);
  EXPECT_FALSE(only<SwiotlbBounced>(board).force);
  const auto failed = only<DmaMapFailed>(board);
  EXPECT_EQ(failed.reason, DmaFailure::pool_full);
  EXPECT_EQ(failed.kind, DmaMappingKind::single);
  EXPECT_EQ(failed.phys, b.phys);
  EXPECT_EQ(failed.bytes, 300u << 10);
  EXPECT_EQ(failed.mask, bit_mask(32));
}

TEST(DmaEvents, TraceThePlainAddressBehindAnIommu) {
  DmaBoard board{Platform::sme, {.iommu = IommuMode::translated}};
  Device& dev = board.add_device(64, 64, true);
  const KernelBuffer b = board.buffer(100, 1);
  ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, 100, Direction::to_device), dma_mapping_error);
  EXPECT_EQ(only<SwiotlbBounced>(board).dev_addr.value(), b.phys.value());
}

TEST(DmaEvents, DescribeAMappingFromBeginningToEnd) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(one_page, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::from_device);
  board.dma().sync_single_for_cpu(board.cpu(), dev, dma, 100, Direction::from_device);
  board.dma().sync_single_for_device(board.cpu(), dev, dma, 100, Direction::from_device);
  board.dma().unmap_single(board.cpu(), dev, dma, one_page, Direction::from_device);

  const auto mapped = only<DmaMapped>(board);
  EXPECT_EQ(mapped.kind, DmaMappingKind::single);
  EXPECT_EQ(mapped.dma, dma);
  EXPECT_EQ(mapped.phys, b.phys);
  EXPECT_EQ(mapped.path, DmaPath::swiotlb);
  EXPECT_FALSE(mapped.encrypted);
  const auto syncs = board.log.all<DmaSynced>();
  ASSERT_EQ(syncs.size(), 2u);
  EXPECT_TRUE(syncs[0].for_cpu && syncs[0].copied);
  EXPECT_FALSE(syncs[1].for_cpu || syncs[1].copied) << "nothing to give to a device that only writes";
  const auto unmapped = only<DmaUnmapped>(board);
  EXPECT_EQ(unmapped.dma, dma);
  EXPECT_TRUE(unmapped.copied_back);
}

TEST(DmaEvents, DescribeEachSegmentOfAScatterlist) {
  for (const IommuMode mode : {IommuMode::none, IommuMode::translated}) {
    DmaBoard board{Platform::sev, {.iommu = mode}};
    Device& dev = board.add_device();
    const KernelBuffer b = board.buffer(4 * page_size, 1);
    std::vector<ScatterEntry> sg{{.phys = b.phys + 4, .length = 100},
                                 {.phys = b.phys + 2 * page_size, .length = 200}};
    ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::from_device), 2u);
    board.dma().unmap_sg(board.cpu(), dev, sg, Direction::from_device);
    const auto mapped = board.log.all<DmaMapped>();
    const auto unmapped = board.log.all<DmaUnmapped>();
    ASSERT_EQ(mapped.size(), 2u);
    ASSERT_EQ(unmapped.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(mapped[i].kind, DmaMappingKind::sg);
      EXPECT_EQ(mapped[i].phys, sg[i].phys);
      EXPECT_EQ(mapped[i].bytes, sg[i].length);
      EXPECT_EQ(unmapped[i].kind, DmaMappingKind::sg);
      EXPECT_EQ(unmapped[i].dma, mapped[i].dma);
      EXPECT_EQ(unmapped[i].bytes, mapped[i].bytes);
      EXPECT_EQ(unmapped[i].copied_back, mode == IommuMode::none);
    }
  }
}

TEST(DmaEvents, NameThePathAndTheBitOfEachKindOfMapping) {
  struct Row {
    Platform platform;
    IommuMode mode;
    unsigned mask;
    DmaPath path;
    bool encrypted;
  };
  constexpr Row rows[] = {
      {Platform::plain, IommuMode::none, 64, DmaPath::direct, false},
      {Platform::plain, IommuMode::translated, 64, DmaPath::iommu, false},
      {Platform::sme, IommuMode::none, 64, DmaPath::direct, true},
      {Platform::sme, IommuMode::none, 47, DmaPath::swiotlb, false},
      {Platform::sme, IommuMode::translated, 32, DmaPath::iommu, true},
      {Platform::sev, IommuMode::none, 64, DmaPath::swiotlb, false},
      {Platform::tdx, IommuMode::none, 64, DmaPath::swiotlb, false},
      {Platform::tdx, IommuMode::translated, 64, DmaPath::iommu, false},
  };
  for (const Row& row : rows) {
    DmaBoard board{row.platform, {.iommu = row.mode}};
    Device& dev = board.add_device(row.mask);
    const KernelBuffer b = board.buffer(one_page, 1);
    ASSERT_NE(board.dma().map_page(board.cpu(), dev, b.phys, one_page, Direction::to_device),
              dma_mapping_error);
    const auto mapped = only<DmaMapped>(board);
    EXPECT_EQ(mapped.path, row.path) << to_string(row.platform) << " " << row.mask;
    EXPECT_EQ(mapped.encrypted, row.encrypted) << to_string(row.platform) << " " << row.mask;
    EXPECT_EQ(mapped.kind, DmaMappingKind::page);
  }
}

std::vector<std::string> functions(const DmaBoard& board) {
  std::vector<std::string> names;
  for (const auto& step : board.log.all<StepTaken>())
    names.emplace_back(step.source.substr(step.source.find(": ") + 2));
  return names;
}

TEST(DmaEvents, TellTheDecisionsOfADirectMappingInOrder) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(one_page, 1);
  ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::to_device),
            dma_mapping_error);
  EXPECT_THAT(functions(board), ElementsAre("phys_to_dma", "dma_capable", "dma_direct_map_page"));
  EXPECT_TRUE(board.decided("dma_capable", {"+ 4096 - 1 needs 48 bits, the device has 64: true"}));
}

TEST(DmaEvents, TellTheDecisionsOfABounceInOrder) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(one_page, 1);
  ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::to_device),
            dma_mapping_error);
  const auto names = functions(board);
  ASSERT_GE(names.size(), 5u);
  EXPECT_THAT(std::vector<std::string>(names.begin(), names.begin() + 3),
              ElementsAre("phys_to_dma", "dma_capable", "dma_direct_map_page"));
  EXPECT_EQ(names.back(), "dma_capable") << "the bounce has to be reachable too";
  EXPECT_TRUE(board.decided("dma_direct_map_page", {"not dma_capable and SWIOTLB is active"}));
  EXPECT_TRUE(board.decided("swiotlb_map", {"no C-bit"}));
}

TEST(DmaEvents, ShowAMaskWithHolesAsItIs) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  dev.dma_mask = 0xf0f0'0000'0000;
  const KernelBuffer b = board.buffer(one_page, 1);
  ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::to_device),
            dma_mapping_error);
  EXPECT_TRUE(board.decided("dma_capable", {"the device has the mask 0xf0f000000000"}));
}

TEST(DmaEvents, CostNothingThatTheDriverCouldSee) {
  DmaBoard listened{Platform::sev};
  DmaBoard alone{Platform::sev};
  alone.machine->tracer().detach(alone.log);
  const auto run = [](DmaBoard& board) {
    Device& dev = board.add_device();
    const KernelBuffer b = board.buffer(one_page, 1);
    const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, one_page, Direction::bidirectional);
    const auto buffer = board.dma().alloc(board.cpu(), dev, 100).value();
    return std::pair{dma, buffer.dma};
  };
  EXPECT_EQ(run(listened), run(alone));
  EXPECT_THAT(alone.log.events(), IsEmpty());
}

}  // namespace
}  // namespace cbit::kernel
