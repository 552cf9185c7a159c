#include "launch/igvm.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace cbit::launch {
namespace {

using Bytes = std::vector<std::byte>;

void put(Bytes& file, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) file.push_back(static_cast<std::byte>(value >> 8 * i));
}

// igvm_defs: IGVM_FIXED_HEADER; a header of 16 bytes, IGVM_VHS_SUPPORTED_PLATFORM, per platform.
Bytes igvm_of(const std::vector<unsigned>& platforms) {
  Bytes headers;
  for (const unsigned platform : platforms) {
    put(headers, 1, 4);  // IGVM_VHT_SUPPORTED_PLATFORM
    put(headers, 16, 4);
    put(headers, 1, 4);  // compatibility mask
    put(headers, 2, 1);  // highest VTL
    put(headers, platform, 1);
    put(headers, 1, 2);  // version
    put(headers, 0, 8);
  }
  Bytes file;
  for (const std::uint64_t word :
       {0x4d56'4749ull, 1ull, 24ull, static_cast<unsigned long long>(headers.size()), 24ull + headers.size(),
        0ull})
    put(file, word, 4);
  file.insert(file.end(), headers.begin(), headers.end());
  return file;
}

TEST(Igvm, NamesThePlatformsThatItHasAnImageFor) {
  EXPECT_EQ(parse_igvm(igvm_of({2})), (IgvmFile{.valid = true, .sev_snp = true}));
  EXPECT_EQ(parse_igvm(igvm_of({3})), (IgvmFile{.valid = true, .tdx = true}));
  EXPECT_EQ(parse_igvm(igvm_of({1, 2, 3})), (IgvmFile{.valid = true, .sev_snp = true, .tdx = true}));
  EXPECT_EQ(parse_igvm(igvm_of({})), (IgvmFile{.valid = true}));
}

TEST(Igvm, IsNoneWithoutItsNumberOrBeyondItsEnd) {
  EXPECT_FALSE(parse_igvm({}).valid);
  EXPECT_FALSE(parse_igvm(Bytes(4096)).valid);
  for (std::size_t bytes = 0; bytes < 24 + 24; ++bytes) {
    Bytes file = igvm_of({2});
    file.resize(bytes);
    EXPECT_FALSE(parse_igvm(file).valid) << bytes;
  }
}

TEST(Igvm, StopsAtAHeaderThatIsLongerThanTheRest) {
  Bytes file = igvm_of({3, 2});
  file[24 + 4] = std::byte{0xff};  // the first header's length
  EXPECT_EQ(parse_igvm(file), (IgvmFile{.valid = true}));
}

}  // namespace
}  // namespace cbit::launch
