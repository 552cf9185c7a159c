#include "base/bytes.hpp"

#include <gtest/gtest.h>

namespace cbit {
namespace {

TEST(AllZero, IsTrueOfNoBytesAndOfZerosOnly) {
  EXPECT_TRUE(all_zero({}));
  EXPECT_TRUE(all_zero(Bytes(1)));
  EXPECT_TRUE(all_zero(Bytes(4096)));
}

TEST(AllZero, IsFalseWhereverOneByteIsNot) {
  for (const std::size_t size : {1u, 2u, 15u, 64u, 257u})
    for (std::size_t at = 0; at < size; ++at) {
      Bytes bytes(size);
      bytes[at] = std::byte{0x80};
      EXPECT_FALSE(all_zero(bytes)) << at << " of " << size;
    }
  EXPECT_FALSE(all_zero(Bytes(64, std::byte{0xff})));
}

}  // namespace
}  // namespace cbit
