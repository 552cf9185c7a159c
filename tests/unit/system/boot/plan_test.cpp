#include "boot/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/boot_board.hpp"
#include "support/sizes.hpp"

namespace cbit::boot {
namespace {

LoadPlan empty_plan() { return LoadPlan{{{PhysAddr{0}, 16 * mib}, {PhysAddr{1ull << 32}, 2 * mib}}}; }

TEST(LoadPlan, RefusesWhatIsNotInRam) {
  LoadPlan plan = empty_plan();
  const Bytes bytes(page_size);
  EXPECT_TRUE(plan.add({"inside", PhysAddr{16 * mib - page_size}, bytes}));
  const auto outside = plan.add({"kernel", PhysAddr{16 * mib - 100}, bytes});
  ASSERT_FALSE(outside);
  EXPECT_THAT(outside.error().message, testing::HasSubstr("kernel needs 0x1000 bytes at 0xffff9c"));
  EXPECT_FALSE(plan.add({"hole", PhysAddr{1ull << 31}, bytes}));
  EXPECT_FALSE(plan.add({"wraps", PhysAddr{~0ull - 10}, bytes}));
  EXPECT_FALSE(plan.add({"endless", PhysAddr{page_size}, {}, ~0ull}));
  EXPECT_EQ(plan.pieces().size(), 1u);
}

TEST(LoadPlan, RefusesWhatOverlaps) {
  LoadPlan plan = empty_plan();
  ASSERT_TRUE(plan.add({"first", PhysAddr{0x1000}, {}, 0x1000}));
  EXPECT_FALSE(plan.add({"same", PhysAddr{0x1000}, {}, 1}));
  EXPECT_FALSE(plan.add({"over its end", PhysAddr{0x1fff}, {}, 2}));
  EXPECT_FALSE(plan.add({"over its beginning", PhysAddr{0xfff}, {}, 2}));
  EXPECT_FALSE(plan.add({"around it", PhysAddr{0}, {}, 0x4000}));
  EXPECT_TRUE(plan.add({"before it", PhysAddr{0xfff}, {}, 1}));
  EXPECT_TRUE(plan.add({"behind it", PhysAddr{0x2000}, {}, 1}));
  ASSERT_TRUE(plan.reserve("kept free", PhysAddr{0x8000}, 0x1000));
  EXPECT_FALSE(plan.add({"in what is kept free", PhysAddr{0x8800}, {}, 1}));
  const std::vector<Piece> pieces = plan.pieces();
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].what, "before it");
  EXPECT_EQ(pieces[2].what, "behind it");
}

TEST(LoadPlan, FindsTheHighestFreePlaceBelowALimit) {
  LoadPlan plan = empty_plan();
  ASSERT_TRUE(plan.add({"at the top", PhysAddr{15 * mib}, {}, mib}));
  ASSERT_TRUE(plan.add({"in the middle", PhysAddr{8 * mib}, {}, mib}));
  EXPECT_EQ(plan.find_room(0x1800, PhysAddr{16 * mib}), PhysAddr{15 * mib - 0x2000});
  EXPECT_EQ(plan.find_room(6 * mib, PhysAddr{16 * mib}), PhysAddr{9 * mib});
  EXPECT_EQ(plan.find_room(7 * mib, PhysAddr{16 * mib}), PhysAddr{mib});
  EXPECT_EQ(plan.find_room(9 * mib, PhysAddr{16 * mib}), std::nullopt);
  EXPECT_EQ(plan.find_room(mib, PhysAddr{8 * mib + 5}), PhysAddr{7 * mib});
  EXPECT_EQ(plan.find_room(mib, PhysAddr{1ull << 33}), PhysAddr{(1ull << 32) + mib});
  EXPECT_EQ(plan.find_room(~0ull, PhysAddr{1ull << 33}), std::nullopt);
}

TEST(LoadPlan, GivesWholePagesInOrderEachOnce) {
  LoadPlan plan = empty_plan();
  const Bytes ones(0x10, std::byte{1}), twos(0x1000, std::byte{2});
  ASSERT_TRUE(plan.add({"twos", PhysAddr{0x5800}, twos}));
  ASSERT_TRUE(plan.add({"ones", PhysAddr{0x5010}, ones, 0x10}));
  ASSERT_TRUE(plan.add({"zeros", PhysAddr{0x9000}, {}, 0x2000}));
  std::vector<std::uint64_t> pages;
  ASSERT_TRUE(plan.for_each_page([&](PhysAddr page, auto) -> OrError<void> {
    pages.push_back(page.value());
    return {};
  }));
  EXPECT_EQ(pages, (std::vector<std::uint64_t>{0x5000, 0x6000, 0x9000, 0xa000}));
  Bytes expected(0x2000);
  std::fill_n(expected.begin() + 0x10, 0x10, std::byte{1});
  std::fill_n(expected.begin() + 0x800, 0x1000, std::byte{2});
  EXPECT_EQ(test::loaded_at(plan, 0x5000, 0x2000), expected);
  EXPECT_EQ(test::loaded_at(plan, 0x9000, 0x2000), Bytes(0x2000));
}

TEST(LoadPlan, StopsAtTheFirstErrorOfAVisitor) {
  LoadPlan plan = empty_plan();
  ASSERT_TRUE(plan.add({"zeros", PhysAddr{0}, {}, 0x5000}));
  int visited = 0;
  const auto stopped = plan.for_each_page([&](PhysAddr, auto) -> OrError<void> {
    if (++visited == 2) return bad_input("enough");
    return {};
  });
  EXPECT_FALSE(stopped);
  EXPECT_EQ(visited, 2);
}

TEST(LoadPlan, KeepsTheBytesThatItOwnsWhenItMoves) {
  LoadPlan plan = empty_plan();
  ASSERT_TRUE(plan.add_owned("text", PhysAddr{0x1000}, Bytes(3, std::byte{'x'}), 1));
  const LoadPlan moved = std::move(plan);
  EXPECT_EQ(test::text_at(moved, 0x1000), "xxx");
}

}  // namespace
}  // namespace cbit::boot
