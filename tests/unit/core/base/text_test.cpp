#include "base/text.hpp"

#include <gmock/gmock.h>

namespace cbit {
namespace {

using ::testing::ElementsAre;

TEST(Text, EndsLinesAtLineFeedsAndWordsAtBlanks) {
  EXPECT_THAT(lines_of("a b\n\nc"), ElementsAre("a b", "", "c"));
  EXPECT_THAT(words_of("  a\tb \v c\r\n"), ElementsAre("a", "b", "c"));
  EXPECT_EQ(trimmed(std::string_view{"\0 \va b\f\n", 8}), "a b");
  EXPECT_EQ(trimmed(" \t\n"), "");
}

TEST(Text, TakesNumbersWholeOrNotAtAll) {
  EXPECT_EQ(decimal("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(decimal("18446744073709551616"), std::nullopt);
  EXPECT_EQ(decimal("12x"), std::nullopt);
  EXPECT_EQ(decimal(""), std::nullopt);
  EXPECT_EQ(hexadecimal("0xfF"), 255u);
  EXPECT_EQ(hexadecimal("10"), 16u);
}

// POSIX.1-2017, Shell Command Language, 2.2.2: all within single quotes is literal, but they cannot hold one.
TEST(Text, QuotesAnyWordForAShell) {
  EXPECT_EQ(shell_quoted("a b$c\\"), "'a b$c\\'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(Text, ShowsWhatATerminalWouldObeyAndCutsBetweenCharacters) {
  EXPECT_EQ(printable(" a\x1b[31m \n"), "a\\x1b[31m");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("ab\u00e9", 3), "ab...");
}

}  // namespace
}  // namespace cbit
