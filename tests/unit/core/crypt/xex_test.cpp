#include "crypt/xex.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <latch>
#include <set>
#include <thread>

#include "base/random.hpp"
#include "unit/core/crypt/reference.hpp"

namespace cbit::crypt {
namespace {

constexpr std::uint64_t seed = 0x0123456789abcdef;

std::vector<const CipherImplementation*> available_ciphers() {
  std::vector<const CipherImplementation*> ciphers;
  for (const CipherImplementation& c : cipher_implementations()) {
    if (c.available()) ciphers.push_back(&c);
  }
  return ciphers;
}

std::string test_name(const CipherImplementation& implementation, CipherMode mode) {
  std::string name{implementation.name};
  std::replace(name.begin(), name.end(), '-', '_');
  return name + (mode == CipherMode::xex ? "_xex" : "_xe");
}

// Every available implementation in both modes, under one key of one machine.
using Way = std::tuple<const CipherImplementation*, CipherMode>;

class Xex : public ::testing::TestWithParam<Way> {
 protected:
  [[nodiscard]] const CipherImplementation& implementation() const { return *std::get<0>(GetParam()); }
  [[nodiscard]] CipherMode mode() const { return std::get<1>(GetParam()); }

  [[nodiscard]] Bytes encrypted(PhysAddr at, ConstByteSpan plain) const {
    Bytes out(plain.size());
    cipher_.encrypt(at, plain, out);
    return out;
  }
  [[nodiscard]] Bytes decrypted(PhysAddr at, ConstByteSpan text) const {
    Bytes out(text.size());
    cipher_.decrypt(at, text, out);
    return out;
  }

  Key128 key_ = derive_key(seed, "sme");
  std::shared_ptr<const TweakTable> tweaks_ = std::make_shared<const TweakTable>(seed);
  Cipher cipher_{key_, tweaks_, mode(), implementation()};
};

INSTANTIATE_TEST_SUITE_P(All, Xex,
                         ::testing::Combine(::testing::ValuesIn(available_ciphers()),
                                            ::testing::Values(CipherMode::xex, CipherMode::xe)),
                         [](const auto& param) {
                           return test_name(*std::get<0>(param.param), std::get<1>(param.param));
                         });

// Computed outside this program from the definition in xex.hpp.
TEST_P(Xex, EncryptsAKnownBlockToAKnownBlock) {
  const Block plain = block_of("000102030405060708090a0b0c0d0e0f");
  const std::string_view expected =
      mode() == CipherMode::xex ? "a2346746a385ad2aa17ab9bbb03e5f49" : "e64faf0e003244ca825e3a10f0b48527";
  EXPECT_EQ(to_hex(encrypted(PhysAddr{0x123456780}, plain)), expected);
}

TEST_P(Xex, IsAesOfTheTweakedBlock) {
  const PhysAddr base{0x8'7654'3fc0};
  const Bytes plain = pattern_bytes(2 * page_size, 1);
  const Bytes text = encrypted(base, plain);
  for (std::size_t i = 0; i < plain.size() / cipher_block_size; ++i) {
    const Block tweak = tweaks_->tweak(base + i * cipher_block_size);
    const Block core = aes_ecb(key_, block_at(plain, i) ^ tweak, true);
    ASSERT_EQ(block_at(text, i), mode() == CipherMode::xex ? core ^ tweak : core) << "block " << i;
  }
}

TEST_P(Xex, DecryptsWhatItEncrypted) {
  Random random{2};
  for (std::size_t blocks = 0; blocks <= 600; ++blocks) {
    const PhysAddr at{random.next() & ~std::uint64_t{15}};
    const Bytes plain = pattern_bytes(blocks * cipher_block_size, random.next());
    const Bytes text = encrypted(at, plain);
    ASSERT_EQ(decrypted(at, text), plain) << blocks << " blocks";
    if (blocks > 0) {
      ASSERT_NE(text, plain);
    }
  }
}

TEST_P(Xex, GivesTheSameBytesHoweverARunIsCut) {
  const PhysAddr base{0x5'0ff0};
  const Bytes plain = pattern_bytes(3 * page_size, 3);
  const Bytes whole = encrypted(base, plain);
  Random random{3};
  Bytes parts(plain.size());
  for (std::size_t at = 0; at < plain.size();) {
    const std::size_t size =
        std::min<std::size_t>((1 + random.below(40)) * cipher_block_size, plain.size() - at);
    cipher_.encrypt(base + at, std::span{plain}.subspan(at, size), std::span{parts}.subspan(at, size));
    at += size;
  }
  EXPECT_EQ(parts, whole);
}

TEST_P(Xex, ChangesExactlyTheBlockWhoseByteChanged) {
  const PhysAddr base{0x7'7fc0};
  const Bytes plain = pattern_bytes(256, 4);
  const Bytes text = encrypted(base, plain);
  for (std::size_t byte = 0; byte < plain.size(); ++byte) {
    Bytes changed = plain;
    changed[byte] ^= std::byte{1};
    const Bytes changed_text = encrypted(base, changed);
    for (std::size_t i = 0; i < plain.size() / cipher_block_size; ++i) {
      ASSERT_EQ(block_at(changed_text, i) != block_at(text, i), i == byte / cipher_block_size);
    }
  }
}

TEST_P(Xex, GivesEqualTextAtTwoAddressesUnequalCiphertext) {
  const Bytes zeros(page_size);
  const Bytes text = encrypted(PhysAddr{0x1000}, zeros);
  const Bytes other = encrypted(PhysAddr{0x2000}, zeros);
  std::set<Block> seen;
  for (std::size_t i = 0; i < 256; ++i) {
    seen.insert(block_at(text, i));
    seen.insert(block_at(other, i));
  }
  EXPECT_EQ(seen.size(), 512u);
}

std::size_t differing_bits(ConstByteSpan a, ConstByteSpan b) {
  std::size_t bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    bits += static_cast<std::size_t>(std::popcount(std::to_integer<unsigned>(a[i] ^ b[i])));
  }
  return bits;
}

// The weakness of XE for which XEX exists: a move changes nothing but the tweak.
TEST_P(Xex, DecryptsAMovedPageToNoiseUnlessTheModeIsXe) {
  const PhysAddr from{0x1234'5000};
  const PhysAddr to{0x0fed'c000};
  const Bytes plain = pattern_bytes(page_size, 5);
  const Bytes moved = decrypted(to, encrypted(from, plain));
  if (mode() == CipherMode::xe) {
    const Block shift = tweaks_->tweak(from) ^ tweaks_->tweak(to);
    for (std::size_t i = 0; i < 256; ++i) ASSERT_EQ(block_at(moved, i), block_at(plain, i) ^ shift);
    return;
  }
  std::set<Block> shifts;
  for (std::size_t i = 0; i < 256; ++i) shifts.insert(block_at(moved, i) ^ block_at(plain, i));
  EXPECT_EQ(shifts.size(), 256u);
  EXPECT_NEAR(static_cast<double>(differing_bits(moved, plain)), 8 * page_size / 2, 8 * page_size / 50);
}

TEST_P(Xex, DecryptsToNoiseUnderAnotherKey) {
  const Cipher other{derive_key(seed, "asid 1"), tweaks_, mode(), implementation()};
  const PhysAddr at{0x4000};
  const Bytes plain = pattern_bytes(page_size, 6);
  Bytes out(page_size);
  other.decrypt(at, encrypted(at, plain), out);
  EXPECT_NEAR(static_cast<double>(differing_bits(out, plain)), 8 * page_size / 2, 8 * page_size / 50);
}

TEST_P(Xex, MayBeUsedByManyThreadsWithDifferentKeys) {
  constexpr int thread_count = 4;
  const Bytes plain = pattern_bytes(page_size, 7);
  std::latch start{thread_count};
  std::array<int, thread_count> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      const Cipher own{derive_key(t, "thread"), tweaks_, mode(), implementation()};
      Bytes expected(page_size);
      own.encrypt(PhysAddr{0x1000}, plain, expected);
      Bytes text(page_size);
      start.arrive_and_wait();
      for (int i = 0; i < 500; ++i) {
        cipher_.encrypt(PhysAddr{0x1000}, plain, text);
        own.encrypt(PhysAddr{0x1000}, plain, text);
        wrong[t] += text != expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

TEST(XexDeathTest, StopsOnARunThatIsNotMadeOfWholeBlocks) {
  const Cipher cipher{Key128{}, std::make_shared<const TweakTable>(1), CipherMode::xex};
  Bytes bytes(32);
  const std::span all{bytes};
  EXPECT_DEATH(cipher.encrypt(PhysAddr{8}, all, all), "is_aligned");
  EXPECT_DEATH(cipher.encrypt(PhysAddr{0}, all.first(24), all.first(24)), "in.size");
  EXPECT_DEATH(cipher.decrypt(PhysAddr{0}, all.first(16), all), "in.size");
}

}  // namespace
}  // namespace cbit::crypt
