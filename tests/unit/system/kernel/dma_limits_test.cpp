// Masks, required masks and size limits; what a device is told before it maps anything.
#include <gmock/gmock.h>

#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::ElementsAre;

TEST(DmaLimits, AcceptsAnyMaskOf32BitsAndSmallerOnesThatReachZoneDma) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  for (const unsigned bits : {64u, 48u, 47u, 32u, 31u, 24u}) {
    EXPECT_TRUE(board.dma().set_mask(dev, bit_mask(bits))) << bits;
    EXPECT_TRUE(board.dma().set_coherent_mask(dev, bit_mask(bits))) << bits;
    EXPECT_EQ(dev.dma_mask, bit_mask(bits));
    EXPECT_EQ(dev.coherent_dma_mask, bit_mask(bits));
  }
  for (const unsigned bits : {23u, 1u, 0u}) {
    EXPECT_EQ(board.dma().set_mask(dev, bit_mask(bits)).error(), Errno::eio) << bits;
    EXPECT_EQ(board.dma().set_coherent_mask(dev, bit_mask(bits)).error(), Errno::eio) << bits;
  }
  EXPECT_EQ(dev.dma_mask, bit_mask(24)) << "a refused mask changes nothing";
}

TEST(DmaLimits, RefusesAMaskWithoutAPlaceForIt) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  dev.dma_mask.reset();
  EXPECT_EQ(board.dma().set_mask(dev, bit_mask(64)).error(), Errno::eio);
  const KernelBuffer b = board.buffer(16, 1);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 16, Direction::to_device), dma_mapping_error);
  EXPECT_EQ(board.dma().map_resource(board.cpu(), dev, machine::pci_hole, 16, Direction::to_device),
            dma_mapping_error);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 16}};
  EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 0u);
  EXPECT_EQ(board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device), std::size_t{0})
      << "__dma_map_sg_attrs returns 0, which dma_map_sgtable does not take for an error";
  EXPECT_THAT(board.messages(),
              ElementsAre("WARNING: CPU: 0 PID: 1 at kernel/dma/mapping.c dma_map_page_attrs",
                          "WARNING: CPU: 0 PID: 1 at kernel/dma/mapping.c dma_map_resource",
                          "WARNING: CPU: 0 PID: 1 at kernel/dma/mapping.c __dma_map_sg_attrs"))
      << "each WARN_ON_ONCE() is its own";
}

TEST(DmaLimits, TakesAnyMaskBehindAnIommu) {
  DmaBoard board{Platform::plain, {.iommu = IommuMode::translated}};
  EXPECT_TRUE(board.dma().set_mask(board.add_device(), bit_mask(16)));
}

TEST(DmaLimits, RequiresTheCBitOnlyOfDevicesThatAreNotForcedUnencrypted) {
  const auto required = [](Platform platform, unsigned coherent_bits) {
    DmaBoard board{platform};  // RAM ends at 9 GiB: 34 bits
    return board.dma().required_mask(board.add_device(64, coherent_bits));
  };
  EXPECT_EQ(required(Platform::plain, 64), bit_mask(34));
  EXPECT_EQ(required(Platform::sme, 64), bit_mask(48));
  EXPECT_EQ(required(Platform::sme, 48), bit_mask(48));
  EXPECT_EQ(required(Platform::sme, 47), bit_mask(34));
  EXPECT_EQ(required(Platform::sev, 64), bit_mask(34));
  EXPECT_EQ(required(Platform::tdx, 64), bit_mask(34));
  DmaBoard behind_iommu{Platform::sme, {.iommu = IommuMode::translated}};
  EXPECT_EQ(behind_iommu.dma().required_mask(behind_iommu.add_device()), bit_mask(32));
}

TEST(DmaLimits, KnowsWhichDevicesDoNotReachAllMemory) {
  DmaBoard board{Platform::plain};
  EXPECT_TRUE(board.dma().addressing_limited(board.add_device(33)));
  EXPECT_FALSE(board.dma().addressing_limited(board.add_device(34)));
  Device& behind_bridge = board.add_device(64);
  behind_bridge.bus_dma_limit = bit_mask(33);
  EXPECT_TRUE(board.dma().addressing_limited(behind_bridge));
  Device& unset = board.add_device(64);
  unset.dma_mask.reset();
  EXPECT_TRUE(board.dma().addressing_limited(unset)) << "32 bits unless it says more";
}

TEST(DmaLimits, LimitsMappingsToABounceWhereTheyBounce) {
  DmaBoard guest{Platform::sev};
  Device& nvme = guest.add_device();
  EXPECT_EQ(guest.dma().max_mapping_size(nvme), 262144u);
  nvme.min_align_mask = 4095;
  EXPECT_EQ(guest.dma().max_mapping_size(nvme), 258048u);

  DmaBoard plain{Platform::plain};
  EXPECT_EQ(plain.dma().max_mapping_size(plain.add_device(64)), ~0ull);
  EXPECT_EQ(plain.dma().max_mapping_size(plain.add_device(32)), 262144u);
  DmaBoard without_pool{Platform::plain, {.swiotlb = {.no_force = true}}};
  EXPECT_EQ(without_pool.dma().max_mapping_size(without_pool.add_device(32)), ~0ull);
}

TEST(DmaLimits, DoesNotLimitA40BitDeviceOnAnSmeHostThoughItBounces) {
  // The required mask of a device that is forced unencrypted lacks the C-bit, so 40 bits seem to be enough.
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(40);
  EXPECT_FALSE(board.dma().addressing_limited(dev));
  EXPECT_EQ(board.dma().max_mapping_size(dev), ~0ull);
  const KernelBuffer b = board.buffer(300 << 10, 1);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 300 << 10, Direction::to_device),
            dma_mapping_error);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::pool_full));
}

TEST(DmaLimits, NeedsSyncsOfBouncesOnly) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(32);
  const KernelBuffer low = board.buffer(pattern_bytes(16, 1), PhysAddr{1 * gib});
  const KernelBuffer high = board.buffer(pattern_bytes(16, 2), PhysAddr{5 * gib});
  const DmaAddr direct = board.dma().map_single(board.cpu(), dev, low.at, 16, Direction::to_device);
  const DmaAddr bounced = board.dma().map_single(board.cpu(), dev, high.at, 16, Direction::to_device);
  EXPECT_FALSE(board.dma().need_sync(dev, direct));
  EXPECT_TRUE(board.dma().need_sync(dev, bounced));
}

TEST(DmaLimits, AnswersForDevicesBehindAnIommuAsTheVersionDoes) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10}) {
    DmaBoard board{Platform::plain, {.version = version, .iommu = IommuMode::translated, .debug = false}};
    Device& dev = board.add_device(64, 64, true);
    ASSERT_TRUE(board.dma().set_mask(dev, bit_mask(64)));
    const KernelBuffer b = board.buffer(page_size, 1);
    const DmaAddr page = board.dma().map_single(board.cpu(), dev, b.at, page_size, Direction::to_device);
    EXPECT_EQ(board.dma().need_sync(dev, page), version != KernelVersion::v6_10);
    const DmaAddr bounced = board.dma().map_single(board.cpu(), dev, b.at, 100, Direction::to_device);
    EXPECT_TRUE(board.dma().need_sync(dev, bounced));
    EXPECT_TRUE(board.dma().need_sync(dev, page)) << "from the first bounce on for every mapping";
  }
}

}  // namespace
}  // namespace cbit::kernel
