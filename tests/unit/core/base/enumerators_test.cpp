#include "base/enumerators.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace cbit {
namespace {

enum class Suit : std::uint8_t { clubs, diamonds, hearts, spades };
struct SuitRow {
  Suit suit;
  bool red;
};

TEST(Enumerators, AreCountedFromZeroToTheLast) {
  enum class Single : std::uint8_t { only };
  EXPECT_EQ(enumerators<Suit>(), 4u);
  EXPECT_EQ(enumerators<Single>(), 1u);
}

TEST(Enumerators, HaveARowEachInATableThatIsCompleteAndInOrder) {
  constexpr SuitRow complete[] = {
      {Suit::clubs, false}, {Suit::diamonds, true}, {Suit::hearts, true}, {Suit::spades, false}};
  constexpr SuitRow without_the_last[] = {{Suit::clubs, false}, {Suit::diamonds, true}, {Suit::hearts, true}};
  constexpr SuitRow twice_the_first[] = {
      {Suit::clubs, false}, {Suit::clubs, false}, {Suit::hearts, true}, {Suit::spades, false}};
  constexpr SuitRow out_of_order[] = {
      {Suit::clubs, false}, {Suit::hearts, true}, {Suit::diamonds, true}, {Suit::spades, false}};
  EXPECT_TRUE(has_row_each<&SuitRow::suit>(complete));
  EXPECT_FALSE(has_row_each<&SuitRow::suit>(without_the_last));
  EXPECT_FALSE(has_row_each<&SuitRow::suit>(twice_the_first));
  EXPECT_FALSE(has_row_each<&SuitRow::suit>(out_of_order));
}

}  // namespace
}  // namespace cbit
