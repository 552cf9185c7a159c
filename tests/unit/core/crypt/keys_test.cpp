#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>

#include "base/random.hpp"
#include "unit/core/crypt/reference.hpp"

namespace cbit::crypt {
namespace {

// FIPS-197, appendix A.1.
TEST(KeySchedule, ExpandsTheKeyOfTheStandard) {
  const RoundKeys keys = expand_key(block_of("2b7e151628aed2a6abf7158809cf4f3c"));
  constexpr std::string_view expected[] = {
      "2b7e151628aed2a6abf7158809cf4f3c", "a0fafe1788542cb123a339392a6c7605",
      "f2c295f27a96b9435935807a7359f67f", "3d80477d4716fe3e1e237e446d7a883b",
      "ef44a541a8525b7fb671253bdb0bad00", "d4d1c6f87c839d87caf2b8bc11f915bc",
      "6d88a37a110b3efddbf98641ca0093fd", "4e54f70e5f5fc9f384a64fb24ea6dc4f",
      "ead27321b58dbad2312bf5607f8d292f", "ac7766f319fadc2128d12941575c006e",
      "d014f9a8c9ee2589e13f0cc8b6630ca6",
  };
  for (std::size_t i = 0; i < keys.encrypt.size(); ++i) EXPECT_EQ(to_hex(keys.encrypt[i]), expected[i]) << i;
}

// FIPS-197, appendix C.1, the ik_sch lines of the equivalent inverse cipher.
TEST(KeySchedule, ExpandsTheInverseKeysOfTheStandardInOrderOfUse) {
  const RoundKeys keys = expand_key(block_of("000102030405060708090a0b0c0d0e0f"));
  EXPECT_EQ(to_hex(keys.decrypt[0]), "13111d7fe3944a17f307a78b4d2b30c5");
  EXPECT_EQ(to_hex(keys.decrypt[1]), "13aa29be9c8faff6f770f58000f7bf03");
  EXPECT_EQ(to_hex(keys.decrypt[2]), "1362a4638f2586486bff5a76f7874a83");
  EXPECT_EQ(to_hex(keys.decrypt[9]), "8c56dff0825dd3f9805ad3fc8659d7fd");
  EXPECT_EQ(to_hex(keys.decrypt[10]), "000102030405060708090a0b0c0d0e0f");
}

// The expected bytes come from another implementation of HMAC-SHA256.
TEST(DeriveKey, IsTheFirstHalfOfHmacSha256) {
  EXPECT_EQ(to_hex(derive_key(0x0123456789abcdef, "sme")), "3d31ab728c262af71040fa6506f91229");
}

TEST(DeriveKey, GivesEveryLabelAndEverySeedItsOwnKey) {
  std::set<Key128> keys;
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    keys.insert(derive_key(seed, ""));
    keys.insert(derive_key(seed, "sme"));
    for (int asid = 1; asid <= 30; ++asid) keys.insert(derive_key(seed, "asid " + std::to_string(asid)));
  }
  EXPECT_EQ(keys.size(), 16u * 32);
}

Block constant(const TweakTable& tweaks, unsigned bit) {
  return tweaks.tweak(PhysAddr{std::uint64_t{1} << bit});
}

TEST(TweakTable, DerivesTheConstantsFromTheSeed) {
  const TweakTable tweaks{7};
  for (unsigned bit = 4; bit < 64; ++bit) {
    EXPECT_EQ(constant(tweaks, bit), derive_key(7, "tweak " + std::to_string(bit))) << bit;
  }
}

TEST(TweakTable, IsTheSameForTheSameSeedAndAnotherForAnother) {
  const TweakTable a{1};
  const TweakTable b{1};
  const TweakTable c{2};
  for (unsigned bit = 4; bit < 64; ++bit) {
    EXPECT_EQ(constant(a, bit), constant(b, bit));
    EXPECT_NE(constant(a, bit), constant(c, bit));
  }
}

TEST(TweakTable, HasDistinctConstantsThatAreNotZero) {
  const TweakTable tweaks{1};
  std::set<Block> seen{Block{}};
  for (unsigned bit = 4; bit < 64; ++bit) EXPECT_TRUE(seen.insert(constant(tweaks, bit)).second) << bit;
}

// T(a) = T(b) for some a != b exactly when constants depend on each other: Gaussian elimination finds out.
TEST(TweakTable, GivesNoTwoBlocksOfTheAddressSpaceTheSameTweak) {
  using Row = std::array<std::uint64_t, 2>;
  const TweakTable tweaks{1};
  std::array<Row, 128> pivots{};
  std::size_t rank = 0;
  for (unsigned bit = 4; bit < 64; ++bit) {
    Row row = std::bit_cast<Row>(constant(tweaks, bit));
    for (std::size_t column = 0; column < 128; ++column) {
      if ((row[column / 64] >> column % 64 & 1) == 0) continue;
      if (pivots[column] == Row{}) {
        pivots[column] = row;
        ++rank;
        break;
      }
      row = {row[0] ^ pivots[column][0], row[1] ^ pivots[column][1]};
    }
  }
  EXPECT_EQ(rank, 60u);
}

TEST(TweakTable, IsLinearInTheAddress) {
  const TweakTable tweaks{3};
  EXPECT_EQ(tweaks.tweak(PhysAddr{0}), Block{});
  Random random{3};
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t a = random.next() & ~std::uint64_t{15};
    const std::uint64_t b = random.next() >> random.below(60) & ~std::uint64_t{15};
    EXPECT_EQ(tweaks.tweak(PhysAddr{a ^ b}), tweaks.tweak(PhysAddr{a}) ^ tweaks.tweak(PhysAddr{b}));
  }
}

TEST(TweakTable, SplitsATweakIntoThoseOfThePageAndOfTheBlockInIt) {
  const TweakTable tweaks{4};
  Random random{4};
  for (int i = 0; i < 1'000; ++i) {
    const PhysAddr address{random.next() & ~std::uint64_t{15}};
    EXPECT_EQ(tweaks.page_tweak(address), tweaks.tweak(address.page()));
    EXPECT_EQ(tweaks.tweak(address),
              tweaks.page_tweak(address) ^ tweaks.block_tweaks()[address.page_offset() / cipher_block_size]);
  }
}

}  // namespace
}  // namespace cbit::crypt
