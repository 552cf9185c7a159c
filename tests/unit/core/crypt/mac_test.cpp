#include "crypt/mac.hpp"

#include <gtest/gtest.h>

#include "crypt/ecdh.hpp"

namespace cbit::crypt {
namespace {

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

template <class T>
T counting_from(unsigned first) {
  T bytes;
  for (std::byte& b : bytes) b = static_cast<std::byte>(first++);
  return bytes;
}

ConstByteSpan text(std::string_view from) { return std::as_bytes(std::span{from}); }

// RFC 4231, test case 2.
TEST(Mac, HmacAgreesWithTheStandardWhateverThePartsAre) {
  const std::string expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  EXPECT_EQ(to_hex(hmac_sha256(text("Jefe"), {text("what do ya want for nothing?")})), expected);
  EXPECT_EQ(to_hex(hmac_sha256(text("Jefe"), {text("what do ya "), {}, text("want for nothing?")})),
            expected);
}

// Made with `openssl enc -aes-128-ctr`.
TEST(Mac, CounterModeAgreesWithTheCommandAndIsItsOwnInverse) {
  const auto key = counting_from<Key128>(0x10);
  Block iv{};
  iv[0] = std::byte{0xff};
  const Bytes sealed = aes128_ctr(key, iv, text("a packet of 32 bytes, no compres"));
  EXPECT_EQ(to_hex(sealed), "58a2029773d6541aa7aa01cfc9e40b2a42bdb2bbf166f792364ec60d66218907");
  const Bytes opened = aes128_ctr(key, iv, sealed);
  EXPECT_TRUE(std::ranges::equal(opened, text("a packet of 32 bytes, no compres")));
}

// Made with Python's hmac.
TEST(Mac, KeyDerivationAgreesWithAnIndependentOne) {
  EXPECT_EQ(to_hex(sp800_108_key(counting(48), "sev-master-secret", counting_from<Block>(0x40))),
            "12c8472d588d423682a6afda61b86c8d");
}

TEST(Mac, EqualityNeedsEqualLengths) {
  EXPECT_TRUE(equal_in_constant_time(counting(32), counting(32)));
  EXPECT_FALSE(equal_in_constant_time(counting(32), counting(31)));
  Bytes other = counting(32);
  other[31] ^= std::byte{1};
  EXPECT_FALSE(equal_in_constant_time(counting(32), other));
}

TEST(Ecdh, BothEndsFindTheSameSecretAndOthersDoNot) {
  const EcdhKey a{text("a")};
  const EcdhKey b{text("b")};
  const EcdhKey c{text("c")};
  const auto secret = a.shared_secret(b.public_point());
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret, b.shared_secret(a.public_point()));
  EXPECT_NE(secret, c.shared_secret(a.public_point()));
  EXPECT_EQ(EcdhKey{text("a")}.public_point(), a.public_point());
}

TEST(Ecdh, APointThatIsNotOnTheCurveIsRefused) {
  const EcdhKey a{text("a")};
  P384Point point = EcdhKey{text("b")}.public_point();
  point.y[47] ^= std::byte{1};
  EXPECT_FALSE(a.shared_secret(point));
  EXPECT_FALSE(a.shared_secret({}));
  P384Number beyond;
  beyond.fill(std::byte{0xff});
  EXPECT_FALSE(a.shared_secret({beyond, beyond}));
}

}  // namespace
}  // namespace cbit::crypt
