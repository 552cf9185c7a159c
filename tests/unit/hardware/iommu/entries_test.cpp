// The bits that map() leaves in memory, against AMD's specification (48882, 2.2.3) and io_pgtable.c.
#include <gtest/gtest.h>

#include "unit/hardware/iommu/domain_fixture.hpp"

namespace cbit::iommu {
namespace {

using test::Encryption;

TEST(IommuEntries, DeviceTableEntryHoldsRootModeAndRights) {
  const DomainFixture f{test::Encryption::sme};
  const std::uint64_t root = DomainFixture::tables.value();
  EXPECT_EQ(f.domain->device_table_entry().raw, 0x6000'8000'0000'0603 | root);  // IW IR C, mode 3, TV V
}

TEST(IommuEntries, DeviceTableEntryOfIdentityHasRightsAndNoTableOfBlockedNeither) {
  test::SmallMachine machine;
  const auto make = [&](IommuDomain::Type type) {
    return IommuDomain::create({.type = type}, *machine.memory, machine.tracer, {}).value();
  };
  EXPECT_EQ(make(IommuDomain::Type::identity)->device_table_entry().raw, 0x6000'0000'0000'0003);
  EXPECT_EQ(make(IommuDomain::Type::blocked)->device_table_entry().raw, 0x0000'0000'0000'0003u);
}

TEST(IommuEntries, PageHasThreeLevelsWithTheCBitInEach) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0xfff0'1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  const std::uint64_t t = DomainFixture::tables.value();
  EXPECT_EQ(f.entry(PhysAddr{t} + 3 * 8), 0x6000'8000'0000'0401 | (t + 0x1000));  // IW IR, next level 2
  EXPECT_EQ(f.entry(PhysAddr{t + 0x1000} + 0x1ff * 8), 0x6000'8000'0000'0201 | (t + 0x2000));  // next level 1
  EXPECT_EQ(f.entry(PhysAddr{t + 0x2000} + 0x101 * 8), 0x7000'8000'0000'5001);  // IW IR FC, leaf
}

TEST(IommuEntries, LeafWithoutCBitStillHangsInEncryptedTables) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, false));
  EXPECT_EQ(f.entry(f.slot(0x1000, 1)), 0x7000'0000'0000'5001);
  EXPECT_NE(f.entry(f.slot(0x1000, 2)) & DomainFixture::c_bit, 0u);
}

TEST(IommuEntries, RightsAreBits61And62) {
  DomainFixture f{test::Encryption::none};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_only, false));
  ASSERT_TRUE(f.domain->map(DmaAddr{0x2000}, PhysAddr{0x6000}, page_size, f.write_only, false));
  EXPECT_EQ(f.entry(f.slot(0x1000, 1)), 0x3000'0000'0000'5001);
  EXPECT_EQ(f.entry(f.slot(0x2000, 1)), 0x5000'0000'0000'6001);
}

TEST(IommuEntries, SizesBetweenTheLevelsRepeatTheEntryAndEncodeTheSize) {
  struct Case {
    std::uint64_t bytes;
    unsigned level;
    std::uint64_t entries;
    std::uint64_t address_and_next_level;  // PAGE_SIZE_PTE() | PM_LEVEL_ENC(7) for a leaf at 256 GiB
  };
  constexpr std::uint64_t g = 1ull << 30;
  const Case cases[] = {
      {8 << 10, 1, 2, 256 * g | 0x0e00},
      {64 << 10, 1, 16, 256 * g | 0x7e00},
      {1 << 20, 1, 256, 256 * g | 0x7'fe00},
      {2 << 20, 2, 1, 256 * g},
      {4 << 20, 2, 2, 256 * g | 0x1f'fe00},
      {512 << 20, 2, 256, 256 * g | 0xfff'fe00},
      {g, 3, 1, 256 * g},
      {2 * g, 3, 2, 256 * g | 0x3fff'fe00},
      {256 * g, 3, 256, 256 * g | 0x1f'ffff'fe00},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.bytes);
    DomainFixture f{test::Encryption::sme};
    const std::uint64_t iova = 0;
    ASSERT_TRUE(f.domain->map(DmaAddr{iova}, PhysAddr{256 * g}, c.bytes, f.read_write, true));
    const PhysAddr first = f.slot(iova, c.level);
    for (std::uint64_t i = 0; i < c.entries; ++i)
      ASSERT_EQ(f.entry(first + i * 8), 0x7000'8000'0000'0001 | c.address_and_next_level) << "entry " << i;
    EXPECT_EQ(f.entry(first + c.entries * 8), 0u) << "one entry too many";
  }
}

TEST(IommuEntries, RangeIsCutIntoTheLargestLeavesThatAlignmentAllows) {
  DomainFixture f{test::Encryption::none};
  // 0x3000..0x10000: 4 KiB, 16 KiB, 32 KiB.
  ASSERT_TRUE(f.domain->map(DmaAddr{0x3000}, PhysAddr{0x3000}, 0xd000, f.read_write, false));
  EXPECT_EQ(f.entry(f.slot(0x3000, 1)), 0x7000'0000'0000'3001);
  EXPECT_EQ(f.entry(f.slot(0x4000, 1)), 0x7000'0000'0000'5e01);
  EXPECT_EQ(f.entry(f.slot(0x8000, 1)), 0x7000'0000'0000'be01);
  // Unequal alignment of the two addresses leaves single pages.
  ASSERT_TRUE(f.domain->map(DmaAddr{0x20000}, PhysAddr{0x31000}, 0x2000, f.read_write, false));
  EXPECT_EQ(f.entry(f.slot(0x20000, 1)), 0x7000'0000'0003'1001);
  EXPECT_EQ(f.entry(f.slot(0x21000, 1)), 0x7000'0000'0003'2001);
}

TEST(IommuEntries, The512GiBLeafThatHardwareGetsWrongIsNeverUsed) {
  DomainFixture f{test::Encryption::none, 4};
  ASSERT_TRUE(f.domain->map(DmaAddr{0}, PhysAddr{0}, 512ull << 30, f.read_write, false));
  EXPECT_EQ(f.entry(f.slot(0, 4)) >> 9 & 7, 3u);
  EXPECT_EQ(f.entry(f.slot(0, 3)), 0x7000'001f'ffff'fe01);
  EXPECT_EQ(f.entry(f.slot(256ull << 30, 3)), 0x7000'005f'ffff'fe01);
}

TEST(IommuEntries, TablesAreCiphertextInDramWhenTheyHaveAKey) {
  DomainFixture f{test::Encryption::sme};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  const PhysAddr at = f.slot(0x1000, 1);
  EXPECT_EQ(load<std::uint64_t>(f.machine.seen(at, 8, f.machine.key)), 0x7000'8000'0000'5001);
  EXPECT_NE(load<std::uint64_t>(f.machine.raw(at, 8)), 0x7000'8000'0000'5001);
}

TEST(IommuEntries, GuestsTablesAreUnderItsKeyAndItsLeavesCarryTheBit) {
  DomainFixture f{test::Encryption::sev};
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  EXPECT_EQ(f.entry(f.slot(0x1000, 1)), 0x7000'8000'0000'5001);
  const auto found = f.domain->translate(DmaAddr{0x1000}, false);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x5000});
  EXPECT_TRUE(found->encrypted);
  EXPECT_EQ(found->key, no_key) << "a device has no key of the guest's";
}

TEST(IommuEntries, LevelsAreAddedOnTopWhenAnIovaNeedsThem) {
  DomainFixture f{test::Encryption::sme};
  const std::uint64_t t = DomainFixture::tables.value();
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  ASSERT_TRUE(f.domain->map(DmaAddr{(1ull << 39) - 0x1000}, PhysAddr{0x6000}, page_size, f.read_write, true));
  EXPECT_EQ(f.domain->device_table_entry().get<IoDte::Mode>(), 3u) << "the last page that mode 3 translates";

  ASSERT_TRUE(f.domain->map(DmaAddr{1ull << 39}, PhysAddr{0x7000}, page_size, f.read_write, true));
  EXPECT_EQ(f.domain->device_table_entry().get<IoDte::Mode>(), 4u);
  EXPECT_EQ(f.entry(f.slot(0, 4)), 0x6000'8000'0000'0601 | t) << "the old root is the new root's first table";

  ASSERT_TRUE(f.domain->map(DmaAddr{~0ull << 12}, PhysAddr{0x8000}, page_size, f.read_write, true));
  EXPECT_EQ(f.domain->device_table_entry().get<IoDte::Mode>(), 6u);
  EXPECT_EQ(f.domain->translate(DmaAddr{0x1004}, false)->phys, PhysAddr{0x5004});
  EXPECT_EQ(f.domain->translate(DmaAddr{1ull << 39}, false)->phys, PhysAddr{0x7000});
  EXPECT_EQ(f.domain->translate(DmaAddr{~0ull}, false)->phys, PhysAddr{0x8fff});
}

TEST(IommuEntries, EveryModeBeginsWithItsNumberOfLevels) {
  for (unsigned mode = 1; mode <= 6; ++mode) {
    DomainFixture f{test::Encryption::sme, mode};
    ASSERT_TRUE(f.domain->map(DmaAddr{0x1f'f000}, PhysAddr{0x9000}, page_size, f.read_write, true));
    EXPECT_EQ(f.domain->device_table_entry().get<IoDte::Mode>(), mode);
    EXPECT_EQ(f.pool.in_use().size(), mode);
    EXPECT_EQ(f.domain->translate(DmaAddr{0x1f'f123}, true)->phys, PhysAddr{0x9123});
  }
}

TEST(IommuEntries, LeafAsLargeAsAllThatTheRootTranslatesAddsALevel) {
  DomainFixture f{test::Encryption::none, 1};
  ASSERT_TRUE(f.domain->map(DmaAddr{0}, PhysAddr{0x20'0000}, 2 << 20, f.read_write, false));
  EXPECT_EQ(f.domain->device_table_entry().get<IoDte::Mode>(), 2u);
  EXPECT_EQ(f.entry(f.slot(0, 2)), 0x7000'0000'0020'0001);
  EXPECT_EQ(f.domain->translate(DmaAddr{0x1f'ffff}, false)->phys, PhysAddr{0x3f'ffff});
  EXPECT_EQ(f.pool.in_use().size(), 1u) << "the empty table below it was given back";
}

}  // namespace
}  // namespace cbit::iommu
