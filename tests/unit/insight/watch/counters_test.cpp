#include "watch/counters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stage.hpp"

namespace cbit::watch {
namespace {

class CountersTest : public testing::Test {
 protected:
  CountersTest() { stage.tracer.attach(counters); }

  std::uint64_t value(std::string_view name) const {
    for (const CounterRow& row : counters.rows())
      if (row.name == name) return row.value;
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }
  bool has(std::string_view name) const {
    for (const CounterRow& row : counters.rows())
      if (row.name == name) return true;
    return false;
  }

  Stage stage{Stage::guest()};
  Counters counters;
};

TEST_F(CountersTest, CountsBytesBouncedEachWay) {
  stage.cpu(SwiotlbCopied{buffer_page, bounce_phys, 512, true});
  stage.cpu(SwiotlbCopied{buffer_page, bounce_phys, 100, false});
  stage.cpu(SwiotlbCopied{buffer_page, bounce_phys, 28, false});
  EXPECT_EQ(value("bounced-to-pool-bytes"), 512u);
  EXPECT_EQ(value("bounced-from-pool-bytes"), 128u);
  EXPECT_EQ(counters.counts().bounced_from_pool.accesses, 2u);
}

TEST_F(CountersTest, KeepsTheHighestNumberOfSlotsInUse) {
  stage.cpu(SwiotlbAllocated{stage.device, 0, 4, 0, bounce_phys, buffer_page});
  stage.cpu(SwiotlbAllocated{stage.device, 4, 2, 0, bounce_phys, buffer_page});
  stage.cpu(SwiotlbReleased{0, 4});
  stage.cpu(SwiotlbReleased{4, 2});
  stage.cpu(SwiotlbReleased{4, 2});  // released twice: never below nothing
  EXPECT_EQ(value("bounces"), 2u);
  EXPECT_EQ(value("swiotlb-slots-used-max"), 6u);
  EXPECT_EQ(value("swiotlb-slots-used"), 0u);
}

TEST_F(CountersTest, CountsConversionsByPagesAndFlushesByKind) {
  stage.share(buffer_page, 8);
  stage.make_private(buffer_page, 3);
  stage.cpu(Flush{FlushKind::clflush, 128, 0});
  stage.cpu(Flush{FlushKind::tlb_range, 8, 0});
  stage.cpu(Flush{FlushKind::tlb_full, 1, 0});
  stage.cpu(Flush{FlushKind::wbinvd, 1, 0});
  EXPECT_EQ(value("conversions"), 2u);
  EXPECT_EQ(value("pages-shared"), 8u);
  EXPECT_EQ(value("pages-made-private"), 3u);
  EXPECT_EQ(value("cache-lines-flushed"), 128u);
  EXPECT_EQ(value("tlb-range-flushes"), 1u);
  EXPECT_EQ(value("tlb-full-flushes"), 1u);
  EXPECT_EQ(value("cache-flushes-full"), 1u);
}

TEST_F(CountersTest, TellsDeviceAccessesByKey) {
  stage.device_reads(raw_dma, buffer_page, no_key);
  stage.device_reads(encrypted_dma, buffer_page, memory_key, memory_key);
  stage.device_writes(encrypted_dma, buffer_page, memory_key, memory_key);
  EXPECT_EQ(value("device-reads-key-0"), 1u);
  EXPECT_EQ(value("device-read-bytes-key-2"), 512u);
  EXPECT_EQ(value("device-writes-key-2"), 1u);
  EXPECT_FALSE(has("device-writes-key-0"));
}

TEST_F(CountersTest, CountsFaultsByKind) {
  stage.device_fault(FaultKind::iommu_not_present, iova, iova.value());
  stage.cpu(AccessFault{{FaultKind::rmp_violation, 0, false}, 0});
  stage.cpu(AccessFault{{FaultKind::rmp_violation, 0, false}, 0});
  EXPECT_EQ(value("device-faults-iommu-not-present"), 1u);
  EXPECT_EQ(value("access-faults-rmp-violation"), 2u);
}

TEST_F(CountersTest, CountsTheCallsOfTheDmaApi) {
  stage.map(DmaPath::swiotlb, bounce_dma);
  stage.cpu(DmaSynced{stage.device, bounce_dma, 64, DmaDirection::to_device, false, true});
  stage.unmap(bounce_dma);
  stage.cpu(
      DmaMapFailed{stage.device, DmaMappingKind::single, buffer_page, 512, DmaFailure::pool_full, 0, {}});
  EXPECT_EQ(value("maps"), 1u);
  EXPECT_EQ(value("syncs"), 1u);
  EXPECT_EQ(value("unmaps"), 1u);
  EXPECT_EQ(value("map-failures"), 1u);
  EXPECT_EQ(value("events"), 4u);
  EXPECT_EQ(value("virtual-ns"), 3u) << "events of one instant are 1 ns apart";
}

TEST_F(CountersTest, PrintsOneCounterALine) {
  EXPECT_EQ(render_counters({{"maps", 12}}), "                  12  maps\n");
}

}  // namespace
}  // namespace cbit::watch
