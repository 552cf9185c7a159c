// Sequences and their names: console_codes(4), ECMA-48.
#include "base/terminal_text.hpp"

#include <gtest/gtest.h>

namespace cbit {
namespace {

std::string taken(std::string_view bytes) { return TerminalText{}.take(bytes); }

TEST(TerminalText, LetsTextAndWhatALineNeedsPass) {
  for (const std::string_view text : {"login: ", "one\r\ntwo\n", "a\tb\b \b\a", "caf\u00e9 \u2713", ""})
    EXPECT_EQ(taken(text), text);
}

TEST(TerminalText, LetsTheCursorMoveAndTheScreenBeErased) {
  for (const std::string_view text : {"\x1b[A",
                                      "\x1b[12B",
                                      "\x1b[C",
                                      "\x1b[3D",
                                      "\x1b[E",
                                      "\x1b[F",
                                      "\x1b[80G",
                                      "\x1b[H",
                                      "\x1b[2;40H",
                                      "\x1b[d",
                                      "\x1b[1;1f",
                                      "\x1b[J",
                                      "\x1b[2J",
                                      "\x1b[K",
                                      "\x1b[1K",
                                      "\x1b[L",
                                      "\x1b[M",
                                      "\x1b[4P",
                                      "\x1b[@",
                                      "\x1b[X",
                                      "\x1b[s",
                                      "\x1b[u",
                                      "\x1b"
                                      "7",
                                      "\x1b"
                                      "8",
                                      "\x1bM",
                                      "\x1b"
                                      "D",
                                      "\x1b"
                                      "E"})
    EXPECT_EQ(taken(text), text);
}

TEST(TerminalText, LetsColoursPass) {
  for (const std::string_view text : {"\x1b[m", "\x1b[0m", "\x1b[1;31m", "\x1b[7;90;107m", "\x1b[38;5;200m",
                                      "\x1b[48;2;1;2;3m", "\x1b[38;5;1;48;5;2m", "\x1b[;4m"})
    EXPECT_EQ(taken(text), text);
}

TEST(TerminalText, LeavesOutWhatTheTerminalWouldAnswer) {
  for (const std::string_view text : {"\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1bZ",
                                      "\x1b[18t", "\x1b[21t", "\x1b[?6n", "\x1b[x"})
    EXPECT_EQ(taken("a" + std::string{text} + "b"), "ab") << text.substr(1);
}

TEST(TerminalText, LeavesOutStringsWithAllThatIsInThem) {
  for (const std::string_view text :
       {"\x1b]0;title\a", "\x1b]0;title\x1b\\", "\x1b]52;c;c2VjcmV0\a", "\x1bP1$r0m\x1b\\", "\x1b_Gi=1\x1b\\",
        "\x1b^private\x1b\\", "\x1bXstring\x1b\\", "\x1b]8;;http://x\x1b\\"})
    EXPECT_EQ(taken("a" + std::string{text} + "b"), "ab") << text.substr(1);
}

TEST(TerminalText, LeavesOutModesResetsCharacterSetsAndFonts) {
  for (const std::string_view text : {"\x1b[?1049h",
                                      "\x1b[?1000h",
                                      "\x1b[?2004h",
                                      "\x1b[?1h",
                                      "\x1b[20h",
                                      "\x1b[4l",
                                      "\x1b"
                                      "c",
                                      "\x1b(0",
                                      "\x1b)B",
                                      "\x1b%G",
                                      "\x1b#8",
                                      "\x1b=",
                                      "\x1b>",
                                      "\x1bH",
                                      "\x1b[r",
                                      "\x1b[2;5r",
                                      "\x1b[1;5s",
                                      "\x1b[q",
                                      "\x1b[!p",
                                      "\x1b[1 q",
                                      "\x1b[12;4]",
                                      "\x1b[11m",
                                      "\x1b[1;12m",
                                      "\x1b[38m",
                                      "\x1b[38;5m",
                                      "\x1b[48;2;1;2m",
                                      "\x1b[>4;2m"})
    EXPECT_EQ(taken("a" + std::string{text} + "b"), "ab") << text.substr(1);
}

TEST(TerminalText, KeepsWhatHasScrolledAway) { EXPECT_EQ(taken("\x1b[3J\x1b[2J"), "\x1b[2J"); }

TEST(TerminalText, ShowsOtherControlCharactersAndWhatIsNoText) {
  EXPECT_EQ(taken("a\x0e\x0f\x7f"), "a\\x0e\\x0f\\x7f");
  EXPECT_EQ(taken("\xff"), "\\xff");
  EXPECT_EQ(taken("\xc2\x9b[6n"), "\\u009b[6n") << "CSI as one character";
  EXPECT_EQ(taken("\u202e"), "\\u202e");
}

TEST(TerminalText, TakesWhatComesInPieces) {
  for (const std::string_view text :
       {"\x1b[1;31mred\x1b[0m caf\u00e9\r\n", "\x1b]0;title\x1b\\x", "\x1b(Bx"}) {
    TerminalText pieces;
    std::string out;
    for (const char c : text) out += pieces.take({&c, 1});
    EXPECT_EQ(out, taken(text));
  }
}

TEST(TerminalText, EndsASequenceAtCancelAndBeginsAnewAtEscape) {
  EXPECT_EQ(taken("\x1b[1\x18m"), "m");
  EXPECT_EQ(taken("\x1b]0;t\x1a ok"), " ok");
  EXPECT_EQ(taken("\x1b[1\x1b[2Kx"), "\x1b[2Kx");
  EXPECT_EQ(taken("\x1b]0;t\x1b[2Kx"), "\x1b[2Kx");
  EXPECT_EQ(taken("\x1b\x1b[Kx"), "\x1b[Kx");
  EXPECT_EQ(taken("\x1b[\r1Kx"), "\r\x1b[1Kx") << "what a control character does is done at once";
}

TEST(TerminalText, ComesBackFromAStringThatNobodyEnds) {
  const std::string out = taken("\x1b]0;" + std::string(10'000, 'a') + "b");
  EXPECT_TRUE(out.ends_with("ab"));
  EXPECT_LT(out.size(), 10'000u);
}

TEST(TerminalText, LeavesOutASequenceWithoutMeasure) {
  EXPECT_EQ(taken("\x1b[" + std::string(1000, '1') + "Ax"), "x");
  EXPECT_EQ(taken("\x1b[99999Ax"), "x");
}

}  // namespace
}  // namespace cbit
