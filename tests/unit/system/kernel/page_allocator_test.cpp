#include "kernel/mm/page_allocator.hpp"

#include <gtest/gtest.h>

#include "support/sizes.hpp"

namespace cbit::kernel {
namespace {

// As the machine lays out RAM: 3 GiB below the PCI hole, the rest from 4 GiB.
std::vector<mem::PhysRange> ram(std::uint64_t bytes) {
  if (bytes <= 3 * gib) return {{PhysAddr{0}, bytes}};
  return {{PhysAddr{0}, 3 * gib}, {PhysAddr{4 * gib}, bytes - 3 * gib}};
}

TEST(PageAllocator, TakesFromTheBottomOfTheHighestZone) {
  PageAllocator pages{ram(8 * gib)};
  EXPECT_EQ(pages.allocate(1), PhysAddr{4 * gib});
  EXPECT_EQ(pages.allocate(3), PhysAddr{4 * gib + page_size});
  EXPECT_EQ(pages.allocate(1), PhysAddr{4 * gib + 4 * page_size});
}

TEST(PageAllocator, TakesFromTheZoneThatTheLimitAllows) {
  PageAllocator pages{ram(8 * gib)};
  EXPECT_EQ(pages.allocate(1, bit_mask(32)), PhysAddr{16 * mib});
  EXPECT_EQ(pages.allocate(1, bit_mask(24)), PhysAddr{mib});
  EXPECT_EQ(pages.allocate(1, bit_mask(33)), PhysAddr{4 * gib});
}

TEST(PageAllocator, EndsRunsAtTheLimitAndNotBeyond) {
  PageAllocator pages{ram(64 * mib)};
  EXPECT_EQ(pages.allocate(1, mib + page_size - 2), std::nullopt);
  EXPECT_EQ(pages.allocate(2, mib + 2 * page_size - 1), PhysAddr{mib});
  EXPECT_EQ(pages.allocate(1, mib + 3 * page_size), PhysAddr{mib + 2 * page_size});
}

TEST(PageAllocator, FallsBackToLowerZones) {
  PageAllocator pages{ram(64 * mib)};  // no NORMAL zone at all
  EXPECT_EQ(pages.allocate(48 * mib / page_size), PhysAddr{16 * mib});
  EXPECT_EQ(pages.allocate(1), PhysAddr{mib});
  EXPECT_EQ(pages.allocate(15 * mib / page_size), std::nullopt);
  EXPECT_EQ(pages.allocate(15 * mib / page_size - 1), PhysAddr{mib + page_size});
  EXPECT_EQ(pages.allocate(1), std::nullopt);
  EXPECT_EQ(pages.free_pages(), 0u);
}

TEST(PageAllocator, NeverGivesOutTheFirstMegabyteOrMmio) {
  PageAllocator pages{ram(8 * gib)};
  EXPECT_EQ(pages.total_pages(), 8 * gib / page_size - mib / page_size);
  EXPECT_FALSE(pages.allocate_at(PhysAddr{0}, 1));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{mib - page_size}, 2));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{3 * gib}, 1));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{9 * gib}, 1));
}

TEST(PageAllocator, AlignsRuns) {
  PageAllocator pages{ram(8 * gib)};
  EXPECT_EQ(pages.allocate(1), PhysAddr{4 * gib});
  EXPECT_EQ(pages.allocate(512, ~0ull, 512), PhysAddr{4 * gib + 2 * mib});
  EXPECT_EQ(pages.allocate(1), PhysAddr{4 * gib + page_size});
}

TEST(PageAllocator, GivesAFreedRunAgain) {
  PageAllocator pages{ram(8 * gib)};
  const std::uint64_t before = pages.free_pages();
  const auto first = pages.allocate(4), second = pages.allocate(4);
  pages.free(*first + page_size, 2);
  EXPECT_EQ(pages.allocate(2), *first + page_size);
  pages.free(*first, 4);
  pages.free(*second, 4);
  EXPECT_EQ(pages.free_pages(), before);
  EXPECT_EQ(pages.allocate(8), first);
}

TEST(PageAllocator, TakesANamedRunAcrossZonesOrNothingOfIt) {
  PageAllocator pages{ram(64 * mib)};
  EXPECT_TRUE(pages.allocate_at(PhysAddr{16 * mib - page_size}, 2));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{16 * mib - 2 * page_size}, 2));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{20 * mib + 1}, 1));
  EXPECT_EQ(pages.allocate(1), PhysAddr{16 * mib + page_size});
  pages.free(PhysAddr{16 * mib - page_size}, 2);
  EXPECT_TRUE(pages.allocate_at(PhysAddr{16 * mib - 2 * page_size}, 3));
}

TEST(PageAllocator, HoldsATerabyteAsCheaplyAsAGigabyte) {
  PageAllocator pages{ram(tib)};
  EXPECT_EQ(pages.total_pages(), tib / page_size - mib / page_size);
  EXPECT_EQ(pages.allocate((tib - 3 * gib) / page_size), PhysAddr{4 * gib});
  EXPECT_EQ(pages.allocate(1), PhysAddr{16 * mib});
}

TEST(PageAllocator, RefusesNothingAndTooMuch) {
  PageAllocator pages{ram(64 * mib)};
  EXPECT_EQ(pages.allocate(0), std::nullopt);
  EXPECT_EQ(pages.allocate(~0ull), std::nullopt);
  EXPECT_EQ(pages.allocate(1, 0), std::nullopt);
  EXPECT_FALSE(pages.allocate_at(PhysAddr{mib}, 0));
  EXPECT_FALSE(pages.allocate_at(PhysAddr{mib}, ~0ull));
}

TEST(PageAllocatorDeathTest, AssertsThatAFreedRunIsInUse) {
  PageAllocator pages{ram(64 * mib)};
  const auto run = pages.allocate(2);
  pages.free(*run, 1);
  EXPECT_DEATH(pages.free(*run, 2), "overlaps");
  EXPECT_DEATH(pages.free(PhysAddr{0}, 1), "managed_");
}

}  // namespace
}  // namespace cbit::kernel
