#include "paging/tlb.hpp"

#include <gtest/gtest.h>

namespace cbit::paging {
namespace {

Translation page_at(PhysAddr phys, PageLevel level, bool global = false) {
  return {.phys = phys, .level = level, .flags = {.global = global}};
}

TEST(Tlb, FindsAPageOfEverySizeByAnyAddressInIt) {
  for (const PageLevel level : {PageLevel::size_4k, PageLevel::size_2m, PageLevel::size_1g}) {
    Tlb tlb;
    const VirtAddr page{8 * level_bytes(level)};
    EXPECT_EQ(tlb.find(page), nullptr);
    tlb.insert(page + 0x123, page_at(PhysAddr{5 * level_bytes(level) + 0x123}, level));
    ASSERT_NE(tlb.find(page + (level_bytes(level) - 1)), nullptr);
    EXPECT_EQ(tlb.find(page)->phys, PhysAddr{5 * level_bytes(level)});
    EXPECT_EQ(tlb.find(page + level_bytes(level)), nullptr);
    EXPECT_EQ(tlb.find(page - 1), nullptr);
  }
}

TEST(Tlb, KeepsPagesApartThatShareAnEntry) {
  Tlb tlb;
  const VirtAddr low{0x1000}, high{0x1000 + (1ull << 40)};
  tlb.insert(low, page_at(PhysAddr{0x5000}, PageLevel::size_4k));
  EXPECT_EQ(tlb.find(high), nullptr);
  tlb.insert(high, page_at(PhysAddr{0x6000}, PageLevel::size_4k));
  EXPECT_EQ(tlb.find(high)->phys, PhysAddr{0x6000});
  EXPECT_EQ(tlb.find(low), nullptr);
}

TEST(Tlb, PrefersASmallPageOverALargeOneThatItReplaced) {
  Tlb tlb;
  tlb.insert(VirtAddr{0x20'0000}, page_at(PhysAddr{0x40'0000}, PageLevel::size_2m));
  tlb.insert(VirtAddr{0x20'1000}, page_at(PhysAddr{0x5000}, PageLevel::size_4k));
  EXPECT_EQ(tlb.find(VirtAddr{0x20'1000})->phys, PhysAddr{0x5000});
  EXPECT_EQ(tlb.find(VirtAddr{0x20'2000})->phys, PhysAddr{0x40'0000});
}

TEST(Tlb, FlushesEverySizeThatOverlapsTheRangeAndNothingElse) {
  Tlb tlb;
  tlb.insert(VirtAddr{0x0000}, page_at(PhysAddr{0x5000}, PageLevel::size_4k, true));
  tlb.insert(VirtAddr{0x1000}, page_at(PhysAddr{0x6000}, PageLevel::size_4k));
  tlb.insert(VirtAddr{0x20'0000}, page_at(PhysAddr{0x40'0000}, PageLevel::size_2m));
  tlb.insert(VirtAddr{0x4000'0000}, page_at(PhysAddr{0}, PageLevel::size_1g));
  tlb.flush_range(VirtAddr{0x1000}, 0x20'0000);
  EXPECT_NE(tlb.find(VirtAddr{0x0000}), nullptr);
  EXPECT_EQ(tlb.find(VirtAddr{0x1000}), nullptr);
  EXPECT_EQ(tlb.find(VirtAddr{0x3f'ffff}), nullptr);
  EXPECT_NE(tlb.find(VirtAddr{0x4000'0000}), nullptr);
  tlb.flush_range(VirtAddr{0x4000'3000}, 1);
  EXPECT_EQ(tlb.find(VirtAddr{0x4000'0000}), nullptr);
  tlb.flush_range(VirtAddr{0x0000}, 0);
  EXPECT_NE(tlb.find(VirtAddr{0x0000}), nullptr);
  tlb.flush_range(VirtAddr{0x0000}, ~std::uint64_t{0});
  EXPECT_EQ(tlb.find(VirtAddr{0x0000}), nullptr);
}

TEST(Tlb, KeepsGlobalPagesOnlyWhereAsked) {
  Tlb tlb;
  tlb.insert(VirtAddr{0x1000}, page_at(PhysAddr{0x5000}, PageLevel::size_4k, true));
  tlb.insert(VirtAddr{0x2000}, page_at(PhysAddr{0x6000}, PageLevel::size_4k, false));
  tlb.flush_non_global();
  EXPECT_NE(tlb.find(VirtAddr{0x1000}), nullptr);
  EXPECT_EQ(tlb.find(VirtAddr{0x2000}), nullptr);
  tlb.flush_all();
  EXPECT_EQ(tlb.find(VirtAddr{0x1000}), nullptr);
}

}  // namespace
}  // namespace cbit::paging
