#include "iommu/viommu_domains.hpp"

#include <gtest/gtest.h>

namespace cbit::iommu {
namespace {

constexpr std::uint32_t nics_endpoint = 8;
constexpr std::uint32_t disk = 16;
constexpr std::uint32_t read_write = viommu_flag::map_read | viommu_flag::map_write;

ViommuRange pages(std::uint64_t first, std::uint64_t count) {
  return {DmaAddr{first * page_size}, DmaAddr{(first + count) * page_size - 1}};
}

class ViommuDomainsTest : public ::testing::Test {
 protected:
  ViommuStatus map(std::uint32_t domain, ViommuRange range, std::uint64_t phys = 0x100000) {
    return domains.map(domain, range, PhysAddr{phys}, read_write);
  }
  void expect_fault(ViommuReason reason, std::uint32_t flags, DmaAddr at) {
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].reason, reason);
    EXPECT_EQ(faults[0].flags, flags);
    EXPECT_EQ(faults[0].endpoint, nics_endpoint);
    EXPECT_EQ(faults[0].address, at);
    faults.clear();
  }

  std::vector<ViommuFault> faults;
  ViommuDomains domains{{.first_domain = 1,
                         .last_domain = 99,
                         .reserved = {{ViommuReservedType::msi, pages(0xfee00, 256)},
                                      {ViommuReservedType::reserved, pages(0x1000, 1)}}},
                        [](std::uint32_t endpoint) { return endpoint == nics_endpoint || endpoint == disk; },
                        [this](const ViommuFault& fault) { faults.push_back(fault); }};
};

TEST_F(ViommuDomainsTest, TranslatesWhatWasMappedAndNothingElse) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(2, 2)), ViommuStatus::ok);
  const auto found = domains.translate(nics_endpoint, DmaAddr{0x3010}, true);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x101010});
  EXPECT_EQ(found->bytes, 0xff0u) << "to the end of the mapping";
  EXPECT_TRUE(found->translated);
  EXPECT_FALSE(domains.translate(nics_endpoint, DmaAddr{0x4000}, false));
  expect_fault(ViommuReason::mapping, viommu_flag::fault_address, DmaAddr{0x4000});
}

TEST_F(ViommuDomainsTest, FaultsWhereTheMappingGivesNoRight) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(domains.map(1, pages(2, 1), PhysAddr{0x5000}, viommu_flag::map_read), ViommuStatus::ok);
  EXPECT_TRUE(domains.translate(nics_endpoint, DmaAddr{0x2000}, false));
  const auto refused = domains.translate(nics_endpoint, DmaAddr{0x2000}, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, FaultKind::iommu_protection);
  expect_fault(ViommuReason::mapping, viommu_flag::fault_address | viommu_flag::fault_write, DmaAddr{0x2000});
}

TEST_F(ViommuDomainsTest, EndpointInNoDomainPassesOrFaultsAsConfigBypassSays) {
  EXPECT_FALSE(domains.translate(nics_endpoint, DmaAddr{0x2000}, false));
  expect_fault(ViommuReason::unknown, viommu_flag::fault_address, DmaAddr{0x2000});
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(domains.detach(1, nics_endpoint), ViommuStatus::ok);
  EXPECT_FALSE(domains.translate(nics_endpoint, DmaAddr{0x2000}, false));
  expect_fault(ViommuReason::domain, viommu_flag::fault_address, DmaAddr{0x2000});
  domains.set_bypass(true);
  const auto found = domains.translate(nics_endpoint, DmaAddr{0x2000}, false);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x2000});
  EXPECT_FALSE(found->translated);
  EXPECT_TRUE(faults.empty());
}

TEST_F(ViommuDomainsTest, BypassDomainPassesAndTakesNoMappings) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, viommu_flag::attach_bypass), ViommuStatus::ok);
  EXPECT_TRUE(domains.translate(nics_endpoint, DmaAddr{0x2000}, true));
  EXPECT_EQ(map(1, pages(2, 1)), ViommuStatus::inval);
  EXPECT_EQ(domains.unmap(1, pages(2, 1)), ViommuStatus::inval);
  EXPECT_EQ(domains.attach(1, disk, 0), ViommuStatus::inval) << "the domain is of the other kind";
}

TEST_F(ViommuDomainsTest, StatusOfEachMistake) {
  EXPECT_EQ(domains.attach(1, nics_endpoint, 2), ViommuStatus::inval);
  EXPECT_EQ(domains.attach(0, nics_endpoint, 0), ViommuStatus::range);
  EXPECT_EQ(domains.attach(100, nics_endpoint, 0), ViommuStatus::range);
  EXPECT_EQ(domains.attach(1, 24, 0), ViommuStatus::noent);
  EXPECT_EQ(domains.detach(1, nics_endpoint), ViommuStatus::noent) << "was never attached";
  EXPECT_EQ(map(1, pages(2, 1)), ViommuStatus::noent);
  EXPECT_EQ(domains.unmap(1, pages(2, 1)), ViommuStatus::noent);
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  EXPECT_EQ(domains.detach(2, nics_endpoint), ViommuStatus::inval);
  EXPECT_EQ(domains.map(1, pages(2, 1), PhysAddr{0x1000}, 8), ViommuStatus::inval);
  EXPECT_EQ(map(1, {DmaAddr{0x2000}, DmaAddr{0x1fff}}), ViommuStatus::inval);
  EXPECT_EQ(map(1, {DmaAddr{0x2000}, DmaAddr{0x2ffe}}), ViommuStatus::range);
  EXPECT_EQ(map(1, pages(2, 1), 0x100), ViommuStatus::range);
  EXPECT_EQ(domains.probe(nics_endpoint), ViommuStatus::ok);
  EXPECT_EQ(domains.probe(24), ViommuStatus::noent);
}

TEST_F(ViommuDomainsTest, OverlapIsRefusedAndChangesNothing) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(4, 4)), ViommuStatus::ok);
  for (const ViommuRange range : {pages(4, 4), pages(3, 2), pages(7, 2), pages(5, 1), pages(0, 100)})
    EXPECT_EQ(map(1, range, 0x900000), ViommuStatus::inval);
  EXPECT_EQ(domains.peek(nics_endpoint, DmaAddr{0x4000}, false)->phys, PhysAddr{0x100000});
  EXPECT_EQ(map(1, pages(3, 1)), ViommuStatus::ok);
  EXPECT_EQ(map(1, pages(8, 1)), ViommuStatus::ok);
}

TEST_F(ViommuDomainsTest, UnmapTakesWholeMappingsAndOneThatWouldSplitTakesNone) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(2, 1)), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(4, 4)), ViommuStatus::ok);
  for (const ViommuRange range : {pages(2, 4), pages(5, 1), pages(5, 100), pages(4, 3), pages(0, 6)}) {
    EXPECT_EQ(domains.unmap(1, range), ViommuStatus::range);
    EXPECT_TRUE(domains.peek(nics_endpoint, DmaAddr{0x2000}, false)) << "what lay inside stays";
    EXPECT_TRUE(domains.peek(nics_endpoint, DmaAddr{0x4000}, false)) << "what would be split is whole";
  }
  EXPECT_EQ(domains.unmap(1, pages(0, 100)), ViommuStatus::ok);
  EXPECT_FALSE(domains.peek(nics_endpoint, DmaAddr{0x4000}, false));
  EXPECT_EQ(domains.unmap(1, pages(0, 100)), ViommuStatus::ok) << "nothing there is no mistake";
}

TEST_F(ViommuDomainsTest, AttachingElsewhereEmptiesADomainThatNobodyIsIn) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(2, 1)), ViommuStatus::ok);
  ASSERT_EQ(domains.attach(2, nics_endpoint, 0), ViommuStatus::ok);
  EXPECT_EQ(map(1, pages(3, 1)), ViommuStatus::noent);
  ASSERT_EQ(domains.attach(1, disk, 0), ViommuStatus::ok);
  EXPECT_FALSE(domains.peek(disk, DmaAddr{0x2000}, false)) << "its mappings went with it";
}

TEST_F(ViommuDomainsTest, MappingsAreSharedByTheEndpointsOfADomain) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(domains.attach(1, disk, 0), ViommuStatus::ok);
  ASSERT_EQ(map(1, pages(2, 1)), ViommuStatus::ok);
  ASSERT_EQ(domains.detach(1, nics_endpoint), ViommuStatus::ok);
  EXPECT_TRUE(domains.peek(disk, DmaAddr{0x2000}, false));
  EXPECT_FALSE(domains.peek(nics_endpoint, DmaAddr{0x2000}, false));
}

TEST_F(ViommuDomainsTest, ReservedRegionsAreRefusedAndMsiRegionsPass) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  EXPECT_TRUE(domains.translate(nics_endpoint, DmaAddr{0xfee0'0000}, true));
  EXPECT_FALSE(domains.translate(nics_endpoint, DmaAddr{0x100'0000}, true));
  expect_fault(ViommuReason::mapping, viommu_flag::fault_address, DmaAddr{0x100'0000});
}

TEST_F(ViommuDomainsTest, AMappingOfTheWholeAddressSpaceIsOne) {
  ASSERT_EQ(domains.attach(1, nics_endpoint, 0), ViommuStatus::ok);
  ASSERT_EQ(domains.map(1, {DmaAddr{0}, DmaAddr{~std::uint64_t{0}}}, PhysAddr{0}, read_write),
            ViommuStatus::ok);
  const auto found = domains.peek(nics_endpoint, DmaAddr{0x1234'5000}, true);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x1234'5000});
}

}  // namespace
}  // namespace cbit::iommu
