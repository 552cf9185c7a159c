#include "process/range_words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::process {
namespace {

std::vector<Mapping> mappings() {
  return parse_maps(
             "55d0c0a00000-55d0c0c00000 r-xp 00000000 fd:01 42                 /usr/bin/vmm\n"
             "55d0c0c00000-55d0c0c01000 rw-p 00000000 fd:01 42                 /usr/bin/vmm\n"
             "55d0c2000000-55d0c2400000 rw-p 00000000 00:00 0                  [heap]\n"
             "7f2d00000000-7f2e00000000 rw-s 00000000 00:01 33                 /memfd:ram (deleted)\n")
      .value();
}

std::vector<VirtRange> resolve(std::string_view word) {
  const auto all = mappings();
  return resolve_range(word, all).value();
}
VirtRange range(std::uint64_t start, std::uint64_t end) { return {VirtAddr{start}, VirtAddr{end}}; }

TEST(RangeWord, IsAStartAndALength) {
  EXPECT_EQ(resolve("0x1000+4K"), std::vector{range(0x1000, 0x2000)});
  EXPECT_EQ(resolve("4096+16"), std::vector{range(0x1000, 0x1010)});
}

TEST(RangeWord, IsAnAreaAsMapsPrintsIt) {
  EXPECT_EQ(resolve("7f2d00000000-7f2d00001000"), std::vector{range(0x7f2d00000000, 0x7f2d00001000)});
  EXPECT_EQ(resolve("0x1000-0x1800"), std::vector{range(0x1000, 0x1800)});
}

TEST(RangeWord, IsTheNameOfMappings) {
  EXPECT_EQ(resolve("[heap]"), std::vector{range(0x55d0c2000000, 0x55d0c2400000)});
  EXPECT_EQ(resolve("vmm").size(), 2u);
  EXPECT_EQ(resolve("/memfd:ram"), resolve("/memfd:ram (deleted)"));
  EXPECT_EQ(resolve("largest"), resolve("memfd:ram"));
}

TEST(RangeWord, IsWidenedToWholePages) {
  EXPECT_EQ(whole_pages(range(0x1fff, 0x2001)), range(0x1000, 0x3000));
  EXPECT_EQ(whole_pages(range(0x1000, 0x2000)), range(0x1000, 0x2000));
}

TEST(RangeWord, IsRefusedWhenItIsNone) {
  const auto all = mappings();
  for (const std::string_view bad :
       {"", "+", "-", "0x1000", "0x1000+", "+4K", "0x1000+0", "0x1000+x", "zz-1000", "1000-zz", "2000-1000",
        "1000-1000", "-1000", "0xffffffffffffffff+1", "0x1000+0xffffffffffffffff", "0x1000+16777216T",
        "no such mapping", "fffffffffffff000-ffffffffffffffff"}) {
    const auto resolved = resolve_range(bad, all);
    ASSERT_FALSE(resolved) << bad;
    EXPECT_EQ(resolved.error().code, ExitCode::usage) << bad;
    EXPECT_FALSE(resolved.error().hint.empty()) << bad;
  }
  EXPECT_FALSE(resolve_range("largest", std::span{all}.first(1)));
}

}  // namespace
}  // namespace cbit::process
