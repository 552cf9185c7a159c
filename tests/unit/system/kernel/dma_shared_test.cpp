// DMA_ATTR_CC_SHARED, REQUIRE_COHERENT and MMIO, as Linux 7.2 takes them.
#include <gtest/gtest.h>

#include "dma_board.hpp"

namespace cbit::kernel {
namespace {

constexpr DmaConfig linux_7_2{.version = KernelVersion::v7_2};

TEST(DmaShared, ReachesPagesThatTheCallerHasDecryptedWithoutABounce) {
  DmaBoard board{Platform::sev, linux_7_2};
  Device& dev = board.add_device();
  const KernelBuffer buffer = board.buffer(page_size, 1);
  ASSERT_TRUE(board.kernel->mm().set_memory_decrypted(board.cpu(), buffer.at, 1));
  const Bytes text = pattern_bytes(page_size, 2);
  ASSERT_TRUE(board.cpu().write(buffer.at, text));
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, buffer.at, page_size,
                                             DmaDirection::bidirectional, dma_attr::cc_shared);
  EXPECT_EQ(dma, DmaAddr{buffer.phys.value()});
  EXPECT_FALSE(board.bounced(dev, dma));
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(DmaBoard::read_by(port, dma, page_size), text);
  const Bytes reply = pattern_bytes(page_size, 3);
  ASSERT_TRUE(port.write(dma, reply));
  EXPECT_EQ(board.seen(buffer), reply);
}

TEST(DmaShared, FailsForADeviceThatIsNotForcedToBounce) {
  for (const Platform platform : {Platform::plain, Platform::sme}) {
    DmaBoard board{platform, linux_7_2};
    Device& dev = board.add_device();
    const KernelBuffer buffer = board.buffer(page_size, 1);
    EXPECT_EQ(board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device,
                                     dma_attr::cc_shared),
              dma_mapping_error);
    EXPECT_EQ(board.failures(), std::vector{DmaFailure::attribute});
  }
}

TEST(DmaShared, FailsBehindAnIommu) {
  DmaConfig config = linux_7_2;
  config.iommu = IommuMode::translated;
  DmaBoard board{Platform::sev, config};
  Device& dev = board.add_device();
  const KernelBuffer buffer = board.buffer(page_size, 1);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device,
                                   dma_attr::cc_shared),
            dma_mapping_error);
}

TEST(DmaShared, HasToFitTheDevicesMask) {
  DmaBoard board{Platform::sev, linux_7_2};
  Device& dev = board.add_device(32);
  const KernelBuffer high = board.buffer(Bytes(page_size), PhysAddr{5 * gib});
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, high.at, page_size, DmaDirection::to_device,
                                   dma_attr::cc_shared),
            dma_mapping_error);
  EXPECT_EQ(board.failures(), std::vector{DmaFailure::mask_overflow});
}

TEST(DmaShared, RequireCoherentFailsWhereTheMappingWouldBounceAndOnlyThere) {
  for (const auto& [platform, mask, works] : {std::tuple{Platform::sev, 64u, false},
                                              {Platform::sme, 47u, false},
                                              {Platform::sme, 64u, true},
                                              {Platform::plain, 64u, true}}) {
    DmaBoard board{platform, linux_7_2};
    Device& dev = board.add_device(mask);
    const KernelBuffer buffer = board.buffer(page_size, 1);
    const DmaAddr dma = board.dma().map_single(board.cpu(), dev, buffer.at, page_size,
                                               DmaDirection::to_device, dma_attr::require_coherent);
    EXPECT_EQ(dma != dma_mapping_error, works) << to_string(platform) << " " << mask;
    EXPECT_EQ(board.dma().swiotlb() == nullptr ? 0 : board.slots_used(), 0u);
  }
}

TEST(DmaShared, RequireCoherentMakesAScatterlistFailWithEio) {
  DmaBoard board{Platform::sev, linux_7_2};
  Device& dev = board.add_device();
  const KernelBuffer buffer = board.buffer(page_size, 1);
  ScatterEntry sg[] = {{.phys = buffer.phys, .length = page_size}};
  EXPECT_EQ(board.dma()
                .map_sgtable(board.cpu(), dev, sg, DmaDirection::bidirectional, dma_attr::require_coherent)
                .error(),
            Errno::eio);
}

// dma_map_resource() is dma_map_phys() with DMA_ATTR_MMIO, and dma_map_page() wants a struct page.
TEST(DmaShared, MmioIsThePhysicalAddressAndNeverBouncesSoThatAGuestGetsNone) {
  constexpr PhysAddr mmio{0xd000'0000};
  const auto map = [&](Platform platform, KernelVersion version) {
    DmaBoard board{platform, {.version = version}};
    Device& dev = board.add_device();
    if (version == KernelVersion::next) {
      EXPECT_EQ(
          board.dma().map_page(board.cpu(), dev, mmio, page_size, DmaDirection::to_device, dma_attr::mmio),
          dma_mapping_error);
    }
    return board.dma().map_resource(board.cpu(), dev, mmio, page_size, DmaDirection::to_device);
  };
  EXPECT_EQ(map(Platform::sme, KernelVersion::next), DmaAddr{mmio.value()});
  EXPECT_EQ(map(Platform::plain, KernelVersion::next), DmaAddr{mmio.value()});
  for (const Platform guest : {Platform::sev, Platform::sev_es, Platform::sev_snp, Platform::tdx}) {
    EXPECT_EQ(map(guest, KernelVersion::next), dma_mapping_error) << to_string(guest);
    EXPECT_EQ(map(guest, KernelVersion::v6_10), DmaAddr{mmio.value()}) << to_string(guest);
  }
}

TEST(DmaShared, AScatterlistBehindAnIommuIsMappedAndTheAttributeIgnored) {
  DmaConfig config = linux_7_2;
  config.iommu = IommuMode::translated;
  DmaBoard board{Platform::sme, config};
  Device& dev = board.add_device();
  const KernelBuffer buffer = board.buffer(page_size, 1);
  ScatterEntry sg[] = {{.phys = buffer.phys, .length = page_size}};
  EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, DmaDirection::to_device, dma_attr::cc_shared), 1u);
  EXPECT_TRUE(dev.iommu->domain->peek(sg[0].dma, false)->encrypted) << "the entry has the C-bit";
}

TEST(DmaShared, MmioHasNoPages) {
  DmaBoard board{Platform::plain, linux_7_2};
  EXPECT_EQ(board.dma().map_page(board.cpu(), board.add_device(), PhysAddr{0xd000'0000}, page_size,
                                 DmaDirection::to_device, dma_attr::mmio),
            dma_mapping_error);
}

TEST(DmaShared, DoesNotExistInEarlierKernels) {
  for (const KernelVersion version :
       {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10, KernelVersion::v6_12})
    for (const DmaAttrs attr : {dma_attr::cc_shared, dma_attr::require_coherent, dma_attr::mmio}) {
      DmaBoard board{Platform::sev, {.version = version}};
      Device& dev = board.add_device();
      const KernelBuffer buffer = board.buffer(page_size, 1);
      EXPECT_EQ(board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device, attr),
                dma_mapping_error);
      EXPECT_TRUE(board.decided("dma_map_phys", {"does not exist before"}));
    }
}

}  // namespace
}  // namespace cbit::kernel
