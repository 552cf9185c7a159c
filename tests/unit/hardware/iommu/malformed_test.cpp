// Tables that nobody sane wrote: every walk ends with a translation or a fault, and the driver's side neither
// follows them nor gives back pages that are not its own. CBIT_FUZZ_ROUNDS sets the number of rounds.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/random.hpp"
#include "support/sizes.hpp"
#include "unit/hardware/iommu/domain_fixture.hpp"

namespace cbit::iommu {
namespace {

using test::Encryption;

constexpr std::uint64_t pr = 1;
constexpr std::uint64_t rights = 3ull << 61;
constexpr std::uint64_t next_level(std::uint64_t level) { return level << 9; }

struct Malformed : testing::Test {
  void SetUp() override {
    ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, false));
    leaf = f.slot(0x1000, 1);
    directory = f.slot(0x1000, 2);
    root = f.slot(0x1000, 3);
    last_table = leaf.page().value();
  }
  DomainFixture f{test::Encryption::none};
  PhysAddr leaf, directory, root;
  std::uint64_t last_table = 0;
};

TEST_F(Malformed, ReservedBitsFaultInLeafAndDirectory) {
  for (unsigned bit = 52; bit < 64; ++bit) {
    SCOPED_TRACE(bit);
    const std::uint64_t good_leaf = f.entry(leaf);
    f.set_entry(leaf, good_leaf | 1ull << bit);
    EXPECT_EQ(f.kind_at(0x1000), bit < 59 ? std::optional{FaultKind::iommu_reserved_bit} : std::nullopt);
    f.set_entry(leaf, good_leaf);
    const std::uint64_t good_directory = f.entry(directory);
    f.set_entry(directory, good_directory | 1ull << bit);
    EXPECT_EQ(f.kind_at(0x1000), bit < 61 ? std::optional{FaultKind::iommu_reserved_bit} : std::nullopt);
    f.set_entry(directory, good_directory);
  }
}

TEST_F(Malformed, BitsOfAnAbsentEntryAreIgnored) {
  f.set_entry(leaf, ~pr);
  EXPECT_EQ(f.kind_at(0x1000), FaultKind::iommu_not_present);
  f.set_entry(root, ~pr);
  EXPECT_EQ(f.kind_at(0x1000), FaultKind::iommu_not_present);
}

TEST_F(Malformed, TableThatPointsToItselfFaults) {
  for (const unsigned next : {2u, 3u, 4u, 5u, 6u}) {
    f.set_entry(directory, directory.page().value() | rights | next_level(next) | pr);
    EXPECT_EQ(f.kind_at(0x1000), FaultKind::iommu_reserved_bit) << "next level " << next << " at level 2";
  }
}

TEST_F(Malformed, DirectoryEntryInALastLevelTableFaults) {
  f.set_entry(leaf, last_table | rights | next_level(1) | pr);
  EXPECT_EQ(f.kind_at(0x1000), FaultKind::iommu_reserved_bit);
}

TEST_F(Malformed, SkippedLevelsTranslateWhereTheirAddressBitsAreZero) {
  f.set_entry(root, last_table | rights | next_level(1) | pr);
  EXPECT_EQ(f.domain->translate(DmaAddr{0x1008}, true)->phys, PhysAddr{0x5008});
  EXPECT_EQ(f.kind_at(0x1000 | 1 << 21), FaultKind::iommu_not_present);
  EXPECT_EQ(f.kind_at(0x1000 | 1 << 29), FaultKind::iommu_not_present);
  EXPECT_FALSE(f.domain->map(DmaAddr{0x2000}, PhysAddr{0x6000}, page_size, f.read_write, false))
      << "the driver never builds such a table, so it is not its own";
}

TEST_F(Malformed, EncodedSizesOutsideTheLevelFault) {
  // 8 KiB to 1 MiB belong to level 1, 4 MiB to 512 MiB to level 2.
  for (unsigned log2 = 13; log2 <= 52; ++log2) {
    SCOPED_TRACE(log2);
    const std::uint64_t code = (bit_mask(log2 - 1) & 0x000f'ffff'ffff'f000) | rights | next_level(7) | pr;
    f.set_entry(leaf, code);
    EXPECT_EQ(f.kind_at(0x1000), log2 <= 20 ? std::nullopt : std::optional{FaultKind::iommu_reserved_bit});
    const std::uint64_t good = f.entry(directory);
    f.set_entry(directory, code);
    EXPECT_EQ(f.kind_at(0x1000),
              log2 >= 22 && log2 <= 29 ? std::nullopt : std::optional{FaultKind::iommu_reserved_bit});
    f.set_entry(directory, good);
  }
  f.set_entry(leaf, ~0ull & ~IoPte::reserved_in_leaf);
  EXPECT_EQ(f.kind_at(0x1000), FaultKind::iommu_reserved_bit) << "no clear bit at all";
}

TEST_F(Malformed, TableOutsideOfMemoryFaults) {
  f.set_entry(directory, 0x000f'ffff'ffff'f000 | rights | next_level(1) | pr);
  const auto result = f.domain->translate(DmaAddr{0x1000}, false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, FaultKind::no_memory);
  EXPECT_EQ(result.error().address, 0x000f'ffff'ffff'f008u);
}

TEST_F(Malformed, PointerWithoutCBitReadsEncryptedTablesAsNoise) {
  DomainFixture sme{test::Encryption::sme};
  ASSERT_TRUE(sme.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, sme.read_write, true));
  const PhysAddr at = sme.slot(0x1000, 2);
  sme.set_entry(at, sme.entry(at) & ~DomainFixture::c_bit);
  const auto result = sme.domain->translate(DmaAddr{0x1000}, false);
  EXPECT_FALSE(result && result->phys == PhysAddr{0x5000});
}

TEST_F(Malformed, DriverRefusesToFollowAPointerThatIsNotItsOwn) {
  ASSERT_TRUE(f.domain->map(DmaAddr{2 * mib}, PhysAddr{0x7000}, page_size, f.read_write, false));
  const std::uint64_t other = f.slot(2 * mib, 1).page().value();
  f.set_entry(directory, other | rights | next_level(1) | pr);
  EXPECT_EQ(f.domain->map(DmaAddr{0x2000}, PhysAddr{0x6000}, page_size, f.read_write, false).error().kind,
            FaultKind::iommu_reserved_bit);
  EXPECT_EQ(f.domain->unmap(DmaAddr{0x1000}, page_size), 0u);
  EXPECT_EQ(f.domain->set_encrypted(DmaAddr{0x1000}, page_size, true).error().kind,
            FaultKind::iommu_reserved_bit);
  f.domain.reset();
  EXPECT_TRUE(f.pool.in_use().empty()) << "each table goes back once, whatever the entries say";
}

// Random words in place of random entries, some close to valid ones.
class Vandal {
 public:
  Vandal(DomainFixture& f, std::uint64_t seed) : f_{&f}, random_{seed} {}

  void round() {
    for (std::uint64_t n = random_.below(4); n-- > 0;) overwrite_an_entry();
    for (int n = 0; n < 8; ++n) use();
  }

 private:
  void overwrite_an_entry() {
    const auto& tables = f_->pool.in_use();
    const PhysAddr table =
        *std::next(tables.begin(), static_cast<std::ptrdiff_t>(random_.below(tables.size())));
    const PhysAddr at = table + random_.below(random_.below(2) == 0 ? 4 : 512) * 8;
    switch (random_.below(5)) {
      case 0: return f_->set_entry(at, random_.next());
      case 1: return f_->set_entry(at, f_->entry(at) ^ 1ull << random_.below(64));
      case 2: return f_->set_entry(at, table.value() | rights | next_level(random_.below(8)) | pr);
      case 3: {
        const PhysAddr other =
            *std::next(tables.begin(), static_cast<std::ptrdiff_t>(random_.below(tables.size())));
        return f_->set_entry(at, other.value() | rights | next_level(random_.below(8)) | pr);
      }
      default: return f_->machine.put_value(at, random_.next(), no_key);
    }
  }

  void use() {
    const DmaAddr iova{(random_.below(8) << (12 + 9 * random_.below(4))) + random_.below(4) * page_size};
    const std::uint64_t bytes = page_size << random_.below(12);
    switch (random_.below(4)) {
      case 0: {
        const auto found = f_->domain->translate(iova + random_.below(page_size), random_.below(2) == 0);
        EXPECT_TRUE(!found || found->bytes != 0);
        return;
      }
      case 1:
        static_cast<void>(
            f_->domain->map(iova, PhysAddr{random_.below(64) * bytes}, bytes, f_->read_write, true));
        return;
      case 2: f_->domain->unmap(iova, bytes); return;
      default: static_cast<void>(f_->domain->set_encrypted(iova, bytes, random_.below(2) == 0)); return;
    }
  }

  DomainFixture* f_;
  Random random_;
};

TEST(IommuFuzz, SurvivesTablesThatSomebodyWritesOver) {
  const char* const text = std::getenv("CBIT_FUZZ_ROUNDS");
  const std::uint64_t rounds = text != nullptr ? std::strtoull(text, nullptr, 10) : 24;
  for (std::uint64_t seed = 0; seed < rounds; ++seed) {
    SCOPED_TRACE(seed);
    DomainFixture f{seed % 2 == 0 ? test::Encryption::sme : test::Encryption::none,
                    1 + static_cast<unsigned>(seed % 6)};
    f.machine.tracer.detach(f.machine.log);
    Vandal vandal{f, seed};
    for (int n = 0; n < 100; ++n) vandal.round();
    f.domain.reset();
    ASSERT_TRUE(f.pool.in_use().empty());
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace cbit::iommu
