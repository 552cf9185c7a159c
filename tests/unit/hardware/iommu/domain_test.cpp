// map, unmap and translate of one domain.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/cost.hpp"
#include "support/sizes.hpp"
#include "unit/hardware/iommu/domain_fixture.hpp"

namespace cbit::iommu {
namespace {

using test::Encryption;
using test::SmallMachine;

TEST(IommuDomain, TranslatesToPhysicalAddressKeyAndRestOfTheLeaf) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x10'0000}, PhysAddr{0x40'0000}, 64 << 10, f.read_write, true));
  const auto found = f.domain->translate(DmaAddr{0x10'1234}, false);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x40'1234});
  EXPECT_EQ(found->key, mem::host_key);
  EXPECT_TRUE(found->encrypted);
  EXPECT_EQ(found->bytes, 0x1'0000u - 0x1234u);
  EXPECT_TRUE(found->translated);
}

TEST(IommuDomain, LeafWithoutCBitSelectsNoKey) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, false));
  EXPECT_EQ(f.domain->translate(DmaAddr{0x1000}, false)->key, no_key);
  EXPECT_FALSE(f.domain->translate(DmaAddr{0x1000}, false)->encrypted);
}

TEST(IommuDomain, SetEncryptedChangesTheCBitOfEachLeafAndNothingElse) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x3000}, PhysAddr{0x3000}, 0xd000, f.read_only, true));
  ASSERT_TRUE(f.domain->set_encrypted(DmaAddr{0x3000}, 0x2000, false));
  EXPECT_EQ(f.entry(f.slot(0x3000, 1)), 0x3000'0000'0000'3001);
  for (std::uint64_t iova = 0x4000; iova < 0x8000; iova += page_size)
    EXPECT_EQ(f.entry(f.slot(iova, 1)), 0x3000'0000'0000'5e01) << "a large leaf changes whole";
  EXPECT_EQ(f.entry(f.slot(0x8000, 1)), 0x3000'8000'0000'be01) << "outside the range";
  ASSERT_TRUE(f.domain->set_encrypted(DmaAddr{0x3000}, 0x2000, true));
  EXPECT_EQ(f.entry(f.slot(0x4000, 1)), 0x3000'8000'0000'5e01);
}

TEST(IommuDomain, SetEncryptedStopsAtAHole) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  const auto result = f.domain->set_encrypted(DmaAddr{0x1000}, 2 * page_size, false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Fault{FaultKind::iommu_not_present, 0x2000, false}));
  EXPECT_FALSE(f.domain->translate(DmaAddr{0x1000}, false)->encrypted);
  EXPECT_FALSE(f.domain->set_encrypted(DmaAddr{~0ull}, 2, true));
}

TEST(IommuDomain, FaultsOutsideMappingsAndBeyondItsMode) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  const auto result = f.domain->translate(DmaAddr{0x2010}, true);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Fault{FaultKind::iommu_not_present, 0x2010, true}));
  EXPECT_EQ(f.kind_at(0xfff), FaultKind::iommu_not_present);
  EXPECT_EQ(f.kind_at(0x1000 | 1ull << 39), FaultKind::iommu_not_present) << "bit 39 must not be dropped";
  EXPECT_EQ(f.kind_at(~0ull), FaultKind::iommu_not_present);
}

TEST(IommuDomain, RightsOfTheLeafAreChecked) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_only, true));
  ASSERT_TRUE(f.domain->map(DmaAddr{0x2000}, PhysAddr{0x6000}, page_size, f.write_only, true));
  EXPECT_EQ(f.kind_at(0x1000, false), std::nullopt);
  EXPECT_EQ(f.kind_at(0x1000, true), FaultKind::iommu_protection);
  EXPECT_EQ(f.kind_at(0x2000, false), FaultKind::iommu_protection);
  EXPECT_EQ(f.kind_at(0x2000, true), std::nullopt);
}

TEST(IommuDomain, RightsOfDirectoryEntriesAreCheckedToo) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  const PhysAddr directory = f.slot(0x1000, 2);
  f.set_entry(directory, f.entry(directory) & ~(1ull << 62));
  EXPECT_EQ(f.kind_at(0x1000, true), FaultKind::iommu_protection);
  EXPECT_EQ(f.kind_at(0x1000, false), std::nullopt);
}

TEST(IommuDomain, RefusesAMappingOverAnotherAndLeavesBothRangesAsTheyWere) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x8000}, PhysAddr{0x5000}, page_size, f.read_only, true));
  const auto result = f.domain->map(DmaAddr{0x1000}, PhysAddr{0x2'1000}, 0x8000, f.read_write, true);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, FaultKind::iommu_protection);
  EXPECT_EQ(result.error().address, 0x8000u);
  for (std::uint64_t iova = 0x1000; iova < 0x8000; iova += page_size)
    EXPECT_EQ(f.kind_at(iova), FaultKind::iommu_not_present);
  EXPECT_EQ(f.domain->translate(DmaAddr{0x8000}, false)->phys, PhysAddr{0x5000});
}

TEST(IommuDomain, RefusesPagesUnderALargeLeafAndALargeLeafOverPages) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{4 * mib}, PhysAddr{4 * mib}, 4 * mib, f.read_write, true));
  EXPECT_FALSE(f.domain->map(DmaAddr{5 * mib}, PhysAddr{0}, page_size, f.read_write, true));
  ASSERT_TRUE(f.domain->map(DmaAddr{10 * mib + page_size}, PhysAddr{0x5000}, page_size, f.read_write, true));
  EXPECT_FALSE(f.domain->map(DmaAddr{8 * mib}, PhysAddr{8 * mib}, 4 * mib, f.read_write, true));
  EXPECT_EQ(f.domain->translate(DmaAddr{10 * mib + page_size}, true)->phys, PhysAddr{0x5000});
}

TEST(IommuDomain, RefusesWhatIommuMapRefuses) {
  DomainFixture f;
  const auto kind = [&](std::uint64_t iova, std::uint64_t phys, std::uint64_t bytes, IommuAccess rights) {
    const auto result = f.domain->map(DmaAddr{iova}, PhysAddr{phys}, bytes, rights, true);
    return result ? std::nullopt : std::optional{result.error().kind};
  };
  constexpr auto refused = FaultKind::device_protocol;
  EXPECT_EQ(kind(0x1001, 0x5000, page_size, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, 0x5800, page_size, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, 0x5000, 100, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, 0x5000, 0, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, 0x5000, page_size, {}), refused);
  EXPECT_EQ(kind(~0ull << 12, 0x5000, 2 * page_size, f.read_write), refused) << "wraps around";
  EXPECT_EQ(kind(0x1000, 1ull << 47, page_size, f.read_write), refused) << "the C-bit is no address bit";
  EXPECT_EQ(kind(0x1000, (1ull << 47) - page_size, 2 * page_size, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, ~0ull << 12, 2 * page_size, f.read_write), refused);
  EXPECT_EQ(kind(0x1000, 0x5000, ~0ull << 12, f.read_write), refused);
  EXPECT_EQ(f.pool.allocations(), 1u) << "no table besides the root";
}

TEST(IommuDomain, UnmapsWhatWasMappedAndReturnsItsSize) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x3000}, PhysAddr{0x3000}, 0xd000, f.read_write, true));
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x3000}, 0xd000), 0xd000u);
  for (std::uint64_t iova = 0x3000; iova < 0x1'0000; iova += page_size)
    EXPECT_EQ(f.kind_at(iova), FaultKind::iommu_not_present);
}

TEST(IommuDomain, WhatIsUnmappedLazilyStaysReachableWithItsRightsUntilTheFlush) {
  DomainFixture f;
  const IommuAccess read_only{.read = true};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x20'0000}, PhysAddr{0x40'0000}, 2 * mib, read_only, true));
  EXPECT_EQ(f.domain->unmap_lazily(DmaAddr{0x20'0000}, 2 * mib), 2 * mib);
  EXPECT_FALSE(f.domain->look_up(DmaAddr{0x20'1234}, false)) << "the table has let go of it";
  const auto held = f.domain->translate(DmaAddr{0x20'1234}, false);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->phys, PhysAddr{0x40'1234});
  EXPECT_EQ(held->bytes, 2 * mib - 0x1234);
  EXPECT_FALSE(f.domain->translate(DmaAddr{0x20'1234}, true));
  EXPECT_FALSE(f.domain->peek(DmaAddr{0x40'0000}, false)) << "behind it";
  f.domain->flush();
  EXPECT_FALSE(f.domain->translate(DmaAddr{0x20'1234}, false));
}

TEST(IommuDomain, UnmappingPartOfALargeLeafTakesItAwayWholeAsLinuxDoes) {
  for (const std::uint64_t bytes : {std::uint64_t{64 << 10}, 2 * mib, 8 * mib}) {
    DomainFixture f;
    ASSERT_TRUE(f.domain->map(DmaAddr{8 * mib}, PhysAddr{8 * mib}, bytes, f.read_write, true));
    EXPECT_EQ(f.domain->unmap(DmaAddr{8 * mib + bytes / 2}, page_size), bytes);
    EXPECT_EQ(f.kind_at(8 * mib), FaultKind::iommu_not_present);
    EXPECT_EQ(f.kind_at(8 * mib + bytes - 1), FaultKind::iommu_not_present);
  }
}

TEST(IommuDomain, UnmapCountsHolesInALastLevelTableAndStopsWhereThereIsNone) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1000}, page_size), page_size);
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1000}, page_size), page_size) << "a second time, as fetch_pte() has it";
  EXPECT_EQ(f.domain->unmap(DmaAddr{2 * mib - page_size}, 2 * page_size), page_size);
  EXPECT_EQ(f.domain->unmap(DmaAddr{4 * mib}, page_size), 0u);
  EXPECT_EQ(f.domain->unmap(DmaAddr{1ull << 39}, page_size), 0u) << "beyond the mode";
}

TEST(IommuDomain, UnmapRefusesUnalignedRanges) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1800}, page_size), 0u);
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1000}, 100), 0u);
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1000}, 0), 0u);
  EXPECT_EQ(f.kind_at(0x1000), std::nullopt);
}

TEST(IommuDomain, UnmapEndsAtTheTopOfTheAddressSpace) {
  DomainFixture f{test::Encryption::none, 6};
  ASSERT_TRUE(f.domain->map(DmaAddr{0}, PhysAddr{0x5000}, page_size, f.read_write, false));
  ASSERT_TRUE(f.domain->map(DmaAddr{~0ull << 12}, PhysAddr{0x6000}, page_size, f.read_write, false));
  EXPECT_EQ(f.domain->unmap(DmaAddr{~0ull << 12}, ~0ull << 12), page_size);
  EXPECT_EQ(f.kind_at(0), std::nullopt) << "it must not wrap around";
}

TEST(IommuDomain, EmptyTablesStayUntilALargeLeafTakesTheirPlace) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{2 * mib}, PhysAddr{0x5000}, page_size, f.read_write, true));
  f.domain->unmap(DmaAddr{2 * mib}, page_size);
  EXPECT_EQ(f.pool.in_use().size(), 3u);
  ASSERT_TRUE(f.domain->map(DmaAddr{2 * mib}, PhysAddr{2 * mib}, 2 * mib, f.read_write, true));
  EXPECT_EQ(f.pool.in_use().size(), 2u);
  EXPECT_EQ(f.domain->translate(DmaAddr{2 * mib}, true)->bytes, 2 * mib);
}

TEST(IommuDomain, GivesAllTablesBackInTheEnd) {
  DomainFixture f;
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  ASSERT_TRUE(f.domain->map(DmaAddr{1ull << 40}, PhysAddr{0x5000}, page_size, f.read_write, true));
  f.domain.reset();
  EXPECT_TRUE(f.pool.in_use().empty());
}

TEST(IommuDomain, ExhaustedPagesUndoTheWholeMapping) {
  for (std::uint64_t n = 1; n < 5; ++n) {
    DomainFixture f;
    f.pool.fail_at = n;
    // One page in each of two last-level tables: three tables beside the root.
    const auto result =
        f.domain->map(DmaAddr{2 * mib - page_size}, PhysAddr{0x7000}, 2 * page_size, f.read_write, true);
    EXPECT_EQ(result.has_value(), n == 4);
    if (result) continue;
    EXPECT_EQ(result.error().kind, FaultKind::no_memory);
    EXPECT_EQ(f.kind_at(2 * mib - page_size), FaultKind::iommu_not_present);
    f.domain.reset();
    EXPECT_TRUE(f.pool.in_use().empty());
  }
}

TEST(IommuDomain, NoPageForTheRootMeansNoDomain) {
  test::SmallMachine machine;
  test::PagePool pool{PhysAddr{0x1000}};
  pool.fail_at = 0;
  EXPECT_FALSE(IommuDomain::create({}, *machine.memory, machine.tracer, pool.source<IommuPageSource>()));
  test::PagePool outside{PhysAddr{1ull << 40}};
  const auto made =
      IommuDomain::create({}, *machine.memory, machine.tracer, outside.source<IommuPageSource>());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, FaultKind::no_memory);
  EXPECT_TRUE(outside.in_use().empty());
}

TEST(IommuDomain, OneEventPerMapAndUnmap) {
  DomainFixture f{test::Encryption::sme};
  f.machine.log.clear();
  ASSERT_TRUE(f.domain->map(DmaAddr{0x3000}, PhysAddr{0x3000}, 0xd000, f.read_write, true));
  EXPECT_FALSE(f.domain->map(DmaAddr{0x3000}, PhysAddr{0x3000}, 0xd000, f.read_write, true));
  f.domain->unmap(DmaAddr{0x3000}, 0xd000);
  const auto mapped = f.machine.log.all<IommuMapped>();
  const auto unmapped = f.machine.log.all<IommuUnmapped>();
  ASSERT_EQ(mapped.size(), 1u);
  EXPECT_EQ(mapped[0].iova, DmaAddr{0x3000});
  EXPECT_EQ(mapped[0].phys, PhysAddr{0x3000});
  EXPECT_EQ(mapped[0].bytes, 0xd000u);
  EXPECT_TRUE(mapped[0].encrypted);
  ASSERT_EQ(unmapped.size(), 1u);
  EXPECT_EQ(unmapped[0].bytes, 0xd000u);
  EXPECT_EQ(std::ranges::count(f.machine.log.events(), cost::iommu_map_ns, &Event::duration_ns), 2);
}

TEST(IommuDomain, PeekTranslatesAlikeAndLeavesNoTrace) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_only, true));
  // Overwritten without the bit: a walk reads noise, and a real one reports that.
  f.machine.put_value(f.slot(0x1000, 1), std::uint64_t{0}, no_key);
  f.machine.log.clear();
  const auto peeked = f.domain->peek(DmaAddr{0x1000}, false);
  EXPECT_TRUE(f.machine.log.events().empty());
  const auto translated = f.domain->translate(DmaAddr{0x1000}, false);
  EXPECT_EQ(f.machine.log.all<KeyMismatch>().size(), 1u);
  ASSERT_EQ(peeked.has_value(), translated.has_value());
  if (!peeked) {
    EXPECT_EQ(peeked.error(), translated.error());
  }
}

TEST(Iommu, RequesterWithoutEntryIsRefused) {
  DomainFixture f;
  Iommu iommu{f.machine.device_view};
  EXPECT_EQ(iommu.translate(0x10, DmaAddr{0x1000}, true).error(),
            (Fault{FaultKind::iommu_no_domain, 0x1000, true}));
  iommu.attach(0x10, *f.domain);
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  EXPECT_EQ(iommu.translate(0x10, DmaAddr{0x1000}, true)->phys, PhysAddr{0x5000});
  EXPECT_EQ(iommu.translate(0x11, DmaAddr{0x1000}, true).error().kind, FaultKind::iommu_no_domain);
  EXPECT_EQ(iommu.domain_of(0x10), f.domain.get());
  iommu.detach(0x10);
  EXPECT_EQ(iommu.domain_of(0x10), nullptr);
  EXPECT_FALSE(iommu.translate(0x10, DmaAddr{0x1000}, true));
}

TEST(Iommu, IdentityPassesTheAddressOnWithItsKeyBits) {
  test::SmallMachine machine{test::Encryption::sme};
  const auto domain =
      IommuDomain::create({.type = IommuDomain::Type::identity}, *machine.memory, machine.tracer, {}).value();
  Iommu iommu{machine.device_view};
  iommu.attach(0x10, *domain);
  const auto plain = iommu.translate(0x10, DmaAddr{0x1234}, true);
  EXPECT_EQ(plain->phys, PhysAddr{0x1234});
  EXPECT_EQ(plain->key, no_key);
  EXPECT_FALSE(plain->translated);
  const auto encrypted = iommu.translate(0x10, DmaAddr{0x1234 | 1ull << 47}, true);
  EXPECT_EQ(encrypted->phys, PhysAddr{0x1234});
  EXPECT_EQ(encrypted->key, mem::host_key);
  EXPECT_TRUE(encrypted->encrypted);
  EXPECT_EQ(domain->unmap(DmaAddr{0}, page_size), 0u);
  EXPECT_FALSE(domain->map(DmaAddr{0}, PhysAddr{0}, page_size, {true, true}, false));
  EXPECT_FALSE(domain->set_encrypted(DmaAddr{0}, page_size, false));
}

TEST(Iommu, BlockedDomainRefusesEveryAccess) {
  test::SmallMachine machine;
  const auto domain =
      IommuDomain::create({.type = IommuDomain::Type::blocked}, *machine.memory, machine.tracer, {}).value();
  Iommu iommu{machine.device_view};
  iommu.attach(0x10, *domain);
  EXPECT_EQ(iommu.translate(0x10, DmaAddr{0}, false).error().kind, FaultKind::iommu_protection);
  EXPECT_EQ(iommu.peek(0x10, DmaAddr{0}, true).error().kind, FaultKind::iommu_protection);
  EXPECT_FALSE(domain->map(DmaAddr{0}, PhysAddr{0}, page_size, {true, true}, false));
}

TEST(Iommu, UntranslatedAddressGoesAsFarAsItsKeyBitsStayTheSame) {
  const test::SmallMachine machine{test::Encryption::sme};
  EXPECT_EQ(untranslated(machine.device_view, DmaAddr{(1ull << 47) - 16}).bytes, 16u);
  EXPECT_EQ(untranslated(machine.device_view, DmaAddr{1ull << 47}).phys, PhysAddr{0});
  EXPECT_GT(untranslated(mem::KeyView{}, DmaAddr{~0ull}).bytes, 0u);
}

}  // namespace
}  // namespace cbit::iommu
