#include "iommu/iova.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <map>

#include "base/random.hpp"

namespace cbit::iommu {
namespace {

TEST(Iova, GivesTheHighestAddressBelowTheLimitAndGoesDown) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(1, bit_mask(32)), DmaAddr{0xffff'f000});
  EXPECT_EQ(iova.allocate(1, bit_mask(32)), DmaAddr{0xffff'e000});
  EXPECT_EQ(iova.allocate(1, bit_mask(64)), DmaAddr{~0ull << 12});
  EXPECT_EQ(iova.allocate(1, bit_mask(48)), DmaAddr{0xffff'ffff'f000});
}

TEST(Iova, AlignsToTheSizeRoundedUpToAPowerOfTwo) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(1, bit_mask(32)), DmaAddr{0xffff'f000});
  EXPECT_EQ(iova.allocate(16, bit_mask(32)), DmaAddr{0xfffe'0000});
  EXPECT_EQ(iova.allocate(33, bit_mask(32)), DmaAddr{0xfff8'0000});
}

TEST(Iova, SmallSizesTakeUpAPowerOfTwoAsAllocIovaFastRoundsThem) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(3, bit_mask(32)), DmaAddr{0xffff'c000});
  EXPECT_EQ(iova.allocate(1, bit_mask(32)), DmaAddr{0xffff'b000}) << "the fourth page is not handed out";
  EXPECT_TRUE(iova.release(DmaAddr{0xffff'c000}, 3));
  EXPECT_EQ(iova.allocate(4, bit_mask(32)), DmaAddr{0xffff'c000});
}

TEST(Iova, LargeSizesLeaveTheRestOfTheirPowerOfTwoToOthers) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(33, bit_mask(32)), DmaAddr{0xfffc'0000});
  EXPECT_EQ(iova.allocate(1, bit_mask(32)), DmaAddr{0xffff'f000});
}

TEST(Iova, PciDevicesStayBelow4GiBWhileThereIsRoom) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate_pci(1, bit_mask(64)), DmaAddr{0xffff'f000});
  ASSERT_TRUE(iova.reserve(DmaAddr{0x1000}, 0xf'fffe));
  EXPECT_EQ(iova.allocate_pci(1, bit_mask(64)), DmaAddr{~0ull << 12});
  EXPECT_EQ(iova.allocate_pci(1, bit_mask(32)), std::nullopt);
  EXPECT_EQ(iova.allocate_pci(1, bit_mask(40)), DmaAddr{0xff'ffff'f000});
}

TEST(Iova, NeverGivesPageZero) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(1, 0x1fff), DmaAddr{0x1000});
  EXPECT_EQ(iova.allocate(1, 0x1fff), std::nullopt);
  EXPECT_EQ(iova.allocate(1, 0xfff), std::nullopt);
  EXPECT_EQ(iova.allocate(2, 0x1fff), std::nullopt);
  EXPECT_FALSE(iova.reserve(DmaAddr{0}, 1));
}

TEST(Iova, TheLastByteIsAtOrBelowTheLimit) {
  IovaAllocator iova;
  EXPECT_EQ(iova.allocate(1, 0x3ffe), DmaAddr{0x2000});
  EXPECT_EQ(iova.allocate(1, 0x3fff), DmaAddr{0x3000});
  EXPECT_EQ(iova.allocate(0, 0x3fff), std::nullopt);
  EXPECT_EQ(iova.allocate(~0ull, ~0ull), std::nullopt);
  EXPECT_EQ(iova.allocate((1ull << 63) + 1, ~0ull), std::nullopt);
}

TEST(Iova, AvoidsReservedRangesAndRefusesToReserveTwice) {
  IovaAllocator iova;
  ASSERT_TRUE(iova.reserve(DmaAddr{0xfee0'0000}, 0x100));  // the MSI window
  EXPECT_FALSE(iova.reserve(DmaAddr{0xfeef'f000}, 2));
  EXPECT_FALSE(iova.reserve(DmaAddr{0xfedf'f000}, 2));
  EXPECT_FALSE(iova.reserve(DmaAddr{0xfed0'0000}, 0x1000));
  EXPECT_FALSE(iova.reserve(DmaAddr{0xfee0'0800}, 1));
  EXPECT_FALSE(iova.reserve(DmaAddr{0x1000}, 0));
  EXPECT_FALSE(iova.reserve(DmaAddr{~0ull << 12}, 2));
  EXPECT_TRUE(iova.reserve(DmaAddr{~0ull << 12}, 1));
  EXPECT_EQ(iova.allocate(0x1100, bit_mask(32)), DmaAddr{0xfc00'0000});
}

TEST(Iova, ReleasesOnlyWhatWasGivenOutAsAWhole) {
  IovaAllocator iova;
  const DmaAddr first = iova.allocate(64, bit_mask(32)).value();
  EXPECT_FALSE(iova.release(first, 63));
  EXPECT_FALSE(iova.release(first + page_size, 63));
  EXPECT_FALSE(iova.release(first + 1, 64));
  EXPECT_FALSE(iova.release(first, 0));
  EXPECT_TRUE(iova.release(first, 64));
  EXPECT_FALSE(iova.release(first, 64));
  EXPECT_EQ(iova.allocate(64, bit_mask(32)), first);
}

TEST(Iova, FullSpaceIsWholeAgainWhenAllIsReleased) {
  IovaAllocator iova;
  std::vector<DmaAddr> given;
  while (const auto at = iova.allocate(1, 0xff'ffff)) given.push_back(*at);
  EXPECT_EQ(given.size(), 0xfffu);
  for (std::size_t i = 0; i < given.size(); i += 2) EXPECT_TRUE(iova.release(given[i], 1));
  EXPECT_EQ(iova.allocate(2, 0xff'ffff), std::nullopt) << "only single pages are free";
  for (std::size_t i = 1; i < given.size(); i += 2) EXPECT_TRUE(iova.release(given[i], 1));
  EXPECT_EQ(iova.allocate(0x800, 0xff'ffff), DmaAddr{0x80'0000});
}

// Against the definition: the highest aligned run that overlaps nothing taken.
std::optional<DmaAddr> by_search(const std::map<std::uint64_t, std::uint64_t>& taken, std::uint64_t pages,
                                 std::uint64_t limit) {
  const std::uint64_t used = pages < 32 ? std::bit_ceil(pages) : pages;
  const std::uint64_t end = (limit + 1) / page_size;
  if (used > end) return std::nullopt;
  for (std::uint64_t first = align_down(end - used, std::bit_ceil(used)); first > 0;
       first -= std::bit_ceil(used)) {
    bool free = true;
    for (const auto& [other, size] : taken) free &= first + used <= other || other + size <= first;
    if (free) return DmaAddr{first * page_size};
    if (first < std::bit_ceil(used)) break;
  }
  return std::nullopt;
}

TEST(IovaProperty, AllocationsAreTheHighestAlignedFreeRun) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Random random{seed};
    IovaAllocator iova;
    std::map<std::uint64_t, std::uint64_t> taken;  // as used up, rounding included
    for (int step = 0; step < 500; ++step) {
      if (random.below(3) != 0) {
        const std::uint64_t pages = 1 + random.below(random.below(4) == 0 ? 80 : 8);
        const std::uint64_t limit = bit_mask(random.below(2) == 0 ? 21 : 22);
        const auto expected = by_search(taken, pages, limit);
        ASSERT_EQ(iova.allocate(pages, limit), expected);
        if (expected) taken[expected->page_number()] = pages < 32 ? std::bit_ceil(pages) : pages;
      } else if (!taken.empty()) {
        const auto range = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random.below(taken.size())));
        ASSERT_TRUE(iova.release(DmaAddr{range->first * page_size}, range->second));
        taken.erase(range);
      }
    }
  }
}

}  // namespace
}  // namespace cbit::iommu
