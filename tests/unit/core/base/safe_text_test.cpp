#include "base/safe_text.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace cbit {
namespace {

TEST(SafeText, LeavesWhatPeopleReadAlone) {
  for (const std::string text : {"", "plain text, ~ and \\", "Grüße, 世界, 🙂"}) {
    EXPECT_EQ(safe_line(text), text);
    EXPECT_TRUE(is_safe_text(text));
  }
}

TEST(SafeText, ShowsControlCharacters) {
  EXPECT_EQ(safe_line("a\x1b[31mb\a\b\x7f"), "a\\x1b[31mb\\x07\\x08\\x7f");
  EXPECT_EQ(safe_line(std::string_view{"a\0b", 3}), "a\\x00b");
  EXPECT_EQ(safe_line("one\ntwo\ttabs\r"), "one\\ntwo\\ttabs\\r");
  EXPECT_EQ(safe_text("one\ntwo\ttabs\r"), "one\ntwo\ttabs\\r");
}

TEST(SafeText, ShowsC1InBothForms) {
  EXPECT_EQ(safe_line("\xc2\x9b"
                      "31m"),
            "\\u009b31m");
  EXPECT_EQ(safe_line("\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(safe_line("\xc2\x85"), "\\u0085") << "NEL begins a line";
}

TEST(SafeText, ShowsWhatTurnsOrHidesText) {
  EXPECT_EQ(safe_line("user\u202egnp.exe"), "user\\u202egnp.exe");
  EXPECT_EQ(safe_line("\u2066a\u2069\u061c\u200f"), "\\u2066a\\u2069\\u061c\\u200f");
  EXPECT_EQ(safe_line("a\u200bb\u2028c\u2029\ufeff\u00ad"), "a\\u200bb\\u2028c\\u2029\\ufeff\\u00ad");
  EXPECT_EQ(safe_line("\U000e0041"), "\\U000e0041") << "tags";
  EXPECT_EQ(safe_text("a\u2028b"), "a\\u2028b") << "a line of text ends with a line feed only";
}

TEST(SafeText, ShowsBytesThatAreNoUtf8) {
  EXPECT_EQ(safe_line("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(safe_line("\xc0\xaf"), "\\xc0\\xaf") << "longer than needed";
  EXPECT_EQ(safe_line("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");
  EXPECT_EQ(safe_line("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(safe_line("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond Unicode";
  EXPECT_EQ(safe_line("\xe4\xb8"), "\\xe4\\xb8") << "cut short";
  EXPECT_EQ(safe_line("\xe4\x1b"), "\\xe4\\x1b");
}

TEST(SafeText, ChangesNothingWhenItIsUsedAgain) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const std::string once = safe_line(all);
  EXPECT_EQ(safe_line(once), once);
  EXPECT_TRUE(is_safe_text(once));
  EXPECT_FALSE(is_safe_text(all));
}

TEST(SafeText, KnowsWhereACharacterIsCut) {
  EXPECT_EQ(whole_characters("abc"), 3u);
  EXPECT_EQ(whole_characters("ab\xe4"), 2u);
  EXPECT_EQ(whole_characters("ab\xe4\xb8"), 2u);
  EXPECT_EQ(whole_characters("ab\xe4\xb8\x96"), 5u);
  EXPECT_EQ(whole_characters("\xf0\x9f\x99"), 0u);
  EXPECT_EQ(whole_characters("ab\x80\x80\x80\x80"), 6u) << "what is no character at all is not waited for";
  EXPECT_EQ(whole_characters(""), 0u);
}

TEST(SafeText, IsEscapedForHtmlAndMarkdown) {
  EXPECT_EQ(html_text("<script>'\"&\x1b"), "&lt;script&gt;&#39;&quot;&amp;\\x1b");
  EXPECT_EQ(html_text("a\nb"), "a\nb");
  EXPECT_EQ(markdown_text("a|b *c* <d>\n"), "a\\|b \\*c\\* \\<d>\\n");
}

TEST(SafeText, JsonIsAsciiAndStaysJson) {
  const nlohmann::ordered_json json{{"name", "\x1b[31m \xff \xc2\x9b \u202e \x7f ü"}};
  const std::string text = json_text(json);
  for (const char c : text) EXPECT_TRUE(c >= ' ' && c <= '~') << text;
  const auto again = nlohmann::json::parse(text, nullptr, false);
  ASSERT_FALSE(again.is_discarded());
  EXPECT_EQ(again["name"].get<std::string>(), "\x1b[31m \ufffd \xc2\x9b \u202e \x7f ü");
}

}  // namespace
}  // namespace cbit
