#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/qemu_command.hpp"

namespace cbit::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> words(std::string_view text) {
  const auto result = shell_words(text);
  EXPECT_TRUE(result) << text << ": " << result.error().message;
  return result.value_or(std::vector<std::string>{"refused"});
}

std::string words_refusal(std::string_view text) {
  const auto result = shell_words(text);
  EXPECT_FALSE(result) << text;
  if (result) return {};
  EXPECT_FALSE(result.error().hint.empty());
  EXPECT_EQ(result.error().code, ExitCode::bad_input);
  return result.error().message;
}

TEST(ShellWords, AreSeparatedByBlanksAndContinuedLines) {
  EXPECT_THAT(words("  a\tb  c "), ElementsAre("a", "b", "c"));
  EXPECT_THAT(words("qemu \\\n  -m 4G \\\n  -S\n"), ElementsAre("qemu", "-m", "4G", "-S"));
  EXPECT_THAT(words("a\\\nb"), ElementsAre("ab"));
  EXPECT_THAT(words(""), IsEmpty());
}

TEST(ShellWords, KeepWhatIsQuoted) {
  EXPECT_THAT(words(R"(-append 'root=/dev/vda  $x "y"')"),
              ElementsAre("-append", R"(root=/dev/vda  $x "y")"));
  EXPECT_THAT(words(R"("a\"b" "c\d" "e\\f" "g'h")"), ElementsAre("a\"b", "c\\d", "e\\f", "g'h"));
  EXPECT_THAT(words(R"(a'b c'"d e"\ f)"), ElementsAre("ab cd e f"));
  EXPECT_THAT(words(R"('' "")"), ElementsAre("", ""));
  EXPECT_THAT(words("\"a\\\nb\""), ElementsAre("ab"));
}

TEST(ShellWords, EndAtAComment) {
  EXPECT_THAT(words("a b # c 'd\n"), ElementsAre("a", "b"));
  EXPECT_THAT(words("# first\n\na b#c"), ElementsAre("a", "b#c"));
}

TEST(ShellWords, AreRefusedWhereOnlyAShellKnowsThem) {
  EXPECT_THAT(words_refusal("qemu -m $MEM"), HasSubstr("column 9 of the command line: '$'"));
  EXPECT_THAT(words_refusal("qemu \"$(id)\""), HasSubstr("'$'"));
  EXPECT_THAT(words_refusal("qemu `id`"), HasSubstr("'`'"));
  EXPECT_THAT(words_refusal("qemu *.img"), HasSubstr("'*'"));
  EXPECT_THAT(words_refusal("qemu -bios ~/OVMF.fd"), HasSubstr("'~'"));
  EXPECT_THAT(words_refusal("qemu -device {\"driver\":\"nvme\"}"), HasSubstr("'{'"));
  EXPECT_THAT(words("a~b x=\\~"), ElementsAre("a~b", "x=~"));
}

TEST(ShellWords, AreOneSimpleCommand) {
  EXPECT_THAT(words_refusal("qemu -S > log"), HasSubstr("column 9"));
  EXPECT_THAT(words_refusal("qemu & sleep 1"), HasSubstr("ends a command"));
  EXPECT_THAT(words_refusal("qemu -S\nqemu"),
              HasSubstr("line 2, column 1 of the command line: a second command"));
}

TEST(ShellWords, NeedTheirQuotesClosed) {
  EXPECT_THAT(words_refusal("qemu 'abc"), HasSubstr("column 6"));
  EXPECT_THAT(words_refusal("qemu \"abc\\\""), HasSubstr("never closed"));
}

TEST(ShellWords, AreBounded) {
  EXPECT_THAT(words_refusal(std::string(9 << 20, 'a')), HasSubstr("8 MiB"));
  EXPECT_THAT(words_refusal(std::string_view{"a\0b", 3}), HasSubstr("zero byte"));
}

TEST(ShellText, IsTakenApartIntoTheSameWords) {
  const std::vector<std::string> all{"a b", "it's", "", "$x", "{\"a\": 1}", "#", "~", "x\ny", "-m", "a,b=c"};
  EXPECT_EQ(words(to_shell(all)), all);
}

TEST(ShellText, HasOneOptionALine) {
  const QemuCommand command{"qemu-system-x86_64", {{"m", {{"size", "4G"}}, ""}, {"append", {}, "a b"}}};
  EXPECT_EQ(to_shell(command, true), "qemu-system-x86_64 \\\n    -m 4G \\\n    -append 'a b'");
  EXPECT_EQ(to_shell(command, false), "qemu-system-x86_64 -m 4G -append 'a b'");
}

}  // namespace
}  // namespace cbit::launch
