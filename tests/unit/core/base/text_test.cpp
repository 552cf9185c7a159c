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

TEST(Text, ReadsWholeNumbersOnly) {
  EXPECT_EQ(decimal("42"), 42u);
  EXPECT_EQ(decimal("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(hexadecimal("0x1f"), 31u);
  EXPECT_EQ(hexadecimal("1F"), 31u);
  for (const auto* word : {"", "4x", "-1", " 4", "18446744073709551616", "0x"}) {
    EXPECT_EQ(decimal(word), std::nullopt) << word;
    EXPECT_EQ(hexadecimal(std::string{word} + "g"), std::nullopt) << word;
  }
}

TEST(Text, FindsTheWordThatAMistypedOneMayMean) {
  const std::vector<std::string_view> names{"info", "x", "xp", "cont", "quit"};
  EXPECT_EQ(nearest_word("inf", names), "info");
  EXPECT_EQ(nearest_word("ifno", names), "info");
  EXPECT_EQ(nearest_word("quti", names), "quit");
  EXPECT_EQ(nearest_word("conti", names), "cont");
  for (const auto* word : {"", "zzzzzz", "qq"}) EXPECT_EQ(nearest_word(word, names), std::nullopt) << word;
  EXPECT_EQ(nearest_word(std::string(100'000, 'i'), names), std::nullopt);
}

// POSIX.1-2017, Shell Command Language, 2.2.2: all within single quotes is literal, but they cannot hold one.
TEST(Text, TakesTheNearestWordForWhatWasMeantAndSaysWhatElseThereIs) {
  EXPECT_EQ(did_you_mean("--platfrm", {"--memory", "--platform"}, "see --help"),
            "did you mean \"--platform\"? see --help");
  EXPECT_EQ(did_you_mean("--frobnicate", {"--memory", "--platform"}, "see --help"), "see --help");
  EXPECT_EQ(did_you_mean("6.12", {"6.1", "6.6", "6.10"}, ""), "did you mean \"6.10\"? ")
      << "of the same length";
  EXPECT_EQ(did_you_mean("sgx", {"sme", "sev"}, "x"), "x") << "one letter of three is not enough";
  EXPECT_EQ(did_you_mean("lab show", {"lab show"}, "x"), "x") << "the word itself";
  EXPECT_EQ(did_you_mean("sevv", {"sme", "sev"}), "did you mean \"sev\"? use one of sme, sev");
  EXPECT_EQ(did_you_mean("sgx", {"sme", "sev"}), "use one of sme, sev");
}

TEST(Text, QuotesAnyWordForAShell) {
  EXPECT_EQ(shell_quoted("a b$c\\"), "'a b$c\\'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(Text, ShowsOneLineOfWhatATerminalCanTake) {
  EXPECT_EQ(printable(" a\x1b[31mb\xff\n"), "a\\x1b[31mb\\xff");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("ab\u00e9", 3), "ab...") << "not within a character";
  EXPECT_EQ(printable(std::string_view{"\0\n a \0", 6}), "a");
}

}  // namespace
}  // namespace cbit
