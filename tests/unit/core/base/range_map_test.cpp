// What the last assignment of each number was.
#include "base/range_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "base/random.hpp"

namespace cbit {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Piece = std::tuple<std::uint64_t, std::uint64_t, std::optional<int>>;

std::vector<Piece> pieces(const RangeMap<int>& map, std::uint64_t first, std::uint64_t end) {
  std::vector<Piece> found;
  map.for_each_piece(first, end, [&](std::uint64_t from, std::uint64_t until, const int* value) {
    found.emplace_back(from, until, value != nullptr ? std::optional{*value} : std::nullopt);
  });
  return found;
}

TEST(RangeMap, GivesEachNumberItsLastValueAndTheOthersNone) {
  Random random{1};
  RangeMap<int> map;
  std::array<std::optional<int>, 64> expected;
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t first = random.below(64), end = random.below(65);
    const bool erases = random.below(4) == 0;
    if (erases)
      map.erase(first, end);
    else
      map.assign(first, end, i);
    for (std::uint64_t at = first; at < end; ++at) expected[at] = erases ? std::nullopt : std::optional{i};
    for (std::uint64_t at = 0; at < 64; ++at) {
      const int* const value = map.find(at);
      ASSERT_EQ(value != nullptr ? std::optional{*value} : std::nullopt, expected[at]) << at;
    }
  }
}

TEST(RangeMap, VisitsEveryNumberOnceWithOrWithoutAValue) {
  RangeMap<int> map;
  map.assign(10, 20, 1);
  map.assign(15, 17, 2);
  map.assign(30, 40, 3);
  EXPECT_THAT(pieces(map, 5, 35),
              ElementsAre(Piece{5, 10, std::nullopt}, Piece{10, 15, 1}, Piece{15, 17, 2}, Piece{17, 20, 1},
                          Piece{20, 30, std::nullopt}, Piece{30, 35, 3}));
  EXPECT_THAT(pieces(map, 12, 14), ElementsAre(Piece{12, 14, 1}));
  EXPECT_THAT(pieces(map, 40, 41), ElementsAre(Piece{40, 41, std::nullopt}));
  EXPECT_THAT(pieces(map, 9, 9), IsEmpty());
}

TEST(RangeMap, TakesNoRangeThatEndsBeforeItBegins) {
  RangeMap<int> map;
  map.assign(7, 7, 1);
  map.assign(7, 3, 1);
  EXPECT_EQ(map.size(), 0u);
}

}  // namespace
}  // namespace cbit
