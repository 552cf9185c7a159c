#include "kernel/mm/page_runs.hpp"

#include <gtest/gtest.h>

#include <set>

#include "base/random.hpp"

namespace cbit::kernel {
namespace {

TEST(PageRuns, TakesTheLowestRunThatFits) {
  PageRuns runs;
  runs.add(10, 2);
  runs.add(20, 8);
  EXPECT_EQ(runs.take(4, 100), 20u);
  EXPECT_EQ(runs.take(2, 100), 10u);
  EXPECT_EQ(runs.size(), 4u);
  EXPECT_EQ(runs.take(5, 100), std::nullopt);
}

TEST(PageRuns, JoinsWhatIsAddedWithItsNeighbours) {
  PageRuns runs;
  runs.add(10, 5);
  runs.add(20, 5);
  runs.add(15, 5);
  EXPECT_TRUE(runs.contains(10, 15));
  EXPECT_EQ(runs.take(15, 25), 10u);
}

TEST(PageRuns, HonoursEndAndAlignment) {
  PageRuns runs;
  runs.add(3, 30);
  EXPECT_EQ(runs.take(8, 15, 8), std::nullopt);
  EXPECT_EQ(runs.take(8, 16, 8), 8u);
  EXPECT_TRUE(runs.contains(3, 5));
  EXPECT_TRUE(runs.contains(16, 17));
  EXPECT_FALSE(runs.overlaps(8, 8));
}

TEST(PageRuns, EqualsASetOfPagesUnderRandomUse) {
  Random random{7};
  PageRuns runs;
  std::set<std::uint64_t> model;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t first = random.below(200), pages = 1 + random.below(12);
    std::uint64_t held = 0;
    for (std::uint64_t page = first; page < first + pages; ++page) held += model.count(page);
    ASSERT_EQ(runs.overlaps(first, pages), held > 0);
    ASSERT_EQ(runs.contains(first, pages), held == pages);
    if (held == 0) {
      runs.add(first, pages);
      for (std::uint64_t page = first; page < first + pages; ++page) model.insert(page);
    } else if (held == pages) {
      runs.remove(first, pages);
      for (std::uint64_t page = first; page < first + pages; ++page) model.erase(page);
    } else if (const auto taken = runs.take(pages, first, 2)) {
      ASSERT_TRUE(*taken % 2 == 0 && *taken + pages <= first);
      for (std::uint64_t page = *taken; page < *taken + pages; ++page) ASSERT_EQ(model.erase(page), 1u);
    }
    ASSERT_EQ(runs.size(), model.size());
  }
}

TEST(PageRunsDeathTest, RefusesToAddWhatItHasOrRemoveWhatItLacks) {
  PageRuns runs;
  runs.add(10, 5);
  EXPECT_DEATH(runs.add(14, 2), "overlaps");
  EXPECT_DEATH(runs.remove(14, 2), "contains");
}

}  // namespace
}  // namespace cbit::kernel
