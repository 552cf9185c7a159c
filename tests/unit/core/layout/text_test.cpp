#include "layout/text.hpp"

#include <gmock/gmock.h>

#include <string>

namespace cbit::layout {
namespace {

using ::testing::ElementsAre;

// Unicode Standard Annex 11: wide and fullwidth characters take two columns; a combining mark takes none.
TEST(LayoutText, CountsTheColumnsOfATerminalAndNotBytes) {
  EXPECT_EQ(width(""), 0u);
  EXPECT_EQ(width("plain"), 5u);
  EXPECT_EQ(width("µs"), 2u);
  EXPECT_EQ(width("漢字"), 4u);
  EXPECT_EQ(width("ｆｕｌｌ"), 8u);
  EXPECT_EQ(width("e\u0301"), 1u);
  EXPECT_EQ(width("🙂"), 2u);
}

TEST(LayoutText, CountsAColumnForEachByteThatIsNoUtf8) {
  EXPECT_EQ(width("a\xff\xfe"), 3u);
  EXPECT_EQ(width("\xe6\xbc"), 2u);
}

TEST(LayoutText, BreaksAtBlanksAndNowhereElse) {
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("one two three", 6), ElementsAre("one", "two", "three"));
  EXPECT_THAT(wrap("missing-c-bit", 4), ElementsAre("missing-c-bit"));
  EXPECT_THAT(wrap("a missing-c-bit b", 4), ElementsAre("a", "missing-c-bit", "b"));
  EXPECT_THAT(wrap("all of it", 9), ElementsAre("all of it"));
}

TEST(LayoutText, BreaksWideCharactersByTheirColumns) {
  EXPECT_THAT(wrap("漢字 漢字", 8), ElementsAre("漢字", "漢字"));
  EXPECT_THAT(wrap("漢字 漢字", 9), ElementsAre("漢字 漢字"));
}

TEST(LayoutText, KeepsLineFeedsAndLeadingBlanksAndDropsBlanksAtABreak) {
  EXPECT_THAT(wrap("a\n b\n", 10), ElementsAre("a", " b", ""));
  EXPECT_THAT(wrap("a    b", 3), ElementsAre("a  ", "b"));
  EXPECT_THAT(wrap("a    ", 1), ElementsAre("a"));
  EXPECT_THAT(wrap("", 10), ElementsAre(""));
  EXPECT_THAT(wrap("a b", 0), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace cbit::layout
