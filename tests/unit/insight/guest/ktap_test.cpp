// Results of tests: the forms are those of Documentation/dev-tools/ktap.rst, and of what Linux' own
// selftests (tools/testing/selftests/kselftest/runner.sh) and KUnit print.
#include "guest/ktap.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "guest/junit.hpp"

namespace cbit::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

KtapResults read(std::string_view text) {
  KtapReader reader;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    reader.read(text.substr(0, end));
    text.remove_prefix(std::min(end, text.size() - 1) + 1);
  }
  return reader.finish();
}

std::vector<std::uint64_t> counts_of(std::string_view text) {
  const KtapCounts counts = read(text).counts;
  return {counts.passed, counts.failed, counts.skipped, counts.missing};
}

std::vector<std::string> names_of(const std::vector<KtapTest>& tests) {
  std::vector<std::string> names;
  for (const KtapTest& test : tests) names.push_back(test.name);
  return names;
}

TEST(Ktap, CountsEachOutcome) {
  EXPECT_THAT(counts_of("TAP version 13\n1..6\nok 1 one\nnot ok 2 - two # exit=1\nok 3 # SKIP no disk\n"
                        "not ok 4 four # TIMEOUT 45 seconds\nnot ok 5 five # XFAIL known\nok 6 six # TODO"
                        "\n"),
              ElementsAre(2, 2, 2, 0));
}

TEST(Ktap, ReadsNothingBeforeAVersionLine) {
  EXPECT_FALSE(read("1..2\nok 1 boot\nnot ok 2 network\n").counts.any());
}

TEST(Ktap, KeepsNamesReasonsAndWhatWasPrintedBefore) {
  const auto results =
      read("KTAP version 1\n1..2\n# a line\n[    1.250000] noise\nnot ok 1 - maps pages # exit=3\nok 2\n");
  ASSERT_THAT(names_of(results.tests), ElementsAre("maps pages", "2"));
  EXPECT_EQ(results.tests[0].reason, "exit=3");
  EXPECT_EQ(results.tests[0].notes, "# a line\nnoise\n");
  EXPECT_EQ(results.tests[1].notes, "");
}

TEST(Ktap, NestsByIndentation) {
  const auto results = read(
      "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n    KTAP version 1\n    1..1\n    not ok 1 deep\n"
      "  not ok 1 inner\n  ok 2 other # SKIP\nnot ok 1 outer\nok 2 last\n");
  ASSERT_THAT(names_of(results.tests), ElementsAre("outer", "last"));
  ASSERT_THAT(names_of(results.tests[0].tests), ElementsAre("inner", "other"));
  ASSERT_THAT(names_of(results.tests[0].tests[0].tests), ElementsAre("deep"));
  EXPECT_EQ(results.counts.failed, 1u) << "only the test that has no tests within it";
  EXPECT_EQ(results.counts.passed, 1u);
  EXPECT_EQ(results.counts.skipped, 1u);
}

TEST(Ktap, CountsATestThatFailsAlthoughAllWithinItPass) {
  EXPECT_THAT(counts_of("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 inner\nnot ok 1 outer\n"),
              ElementsAre(1, 1, 0, 0));
}

TEST(Ktap, ReadsWhatSelftestsPrefixTheirOutputWith) {
  const auto results = read(
      "TAP version 13\n1..1\n# selftests: mm: madv\n# TAP version 13\n# 1..2\n# ok 1 populate\n"
      "# not ok 2 free\nnot ok 1 selftests: mm: madv # exit=1\n");
  ASSERT_THAT(names_of(results.tests), ElementsAre("selftests: mm: madv"));
  EXPECT_THAT(names_of(results.tests[0].tests), ElementsAre("populate", "free"));
}

// kcmp_test.c of Linux 6.1 counts its tests, and prints "PASS" for each.
TEST(Ktap, BelievesTheTotalsOfASelftestThatPrintsNoResults) {
  constexpr fmt::format_string<int> kcmp =
      "TAP version 13\n1..1\n# selftests: kcmp: kcmp_test\n# TAP version 13\n# 1..3\n# PASS: 0 returned as "
      "expected\n# # Totals: pass:{} fail:0 xfail:0 xpass:0 skip:0 error:0\nok 1 selftests: kcmp\n";
  EXPECT_THAT(counts_of(fmt::format(kcmp, 3)), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(counts_of(fmt::format(kcmp, 1)), ElementsAre(1, 0, 0, 2));
}

TEST(Ktap, TakesTotalsForNobodyElsesTests) {
  EXPECT_THAT(counts_of("TAP version 13\n1..2\n# # Totals: pass:9 fail:0 xfail:0 xpass:0 skip:0 error:0\n"),
              ElementsAre(0, 0, 0, 2));
  EXPECT_THAT(
      counts_of("TAP version 13\n1..2\n# Totals: pass:9\n# Totals: pass:99999999999 fail:0 xfail:0\n"),
      ElementsAre(0, 0, 0, 2));
}

TEST(Ktap, ReadsKUnitBehindTheStampsOfTheLog) {
  const auto results = read(
      "[    0.512345] KTAP version 1\n[    0.512400] 1..1\n[    0.513000]     KTAP version 1\n"
      "[    0.513001]     # Subtest: list\n[    0.513002]     1..2\n[    0.513100]     ok 1 add\n"
      "[    0.513200]     not ok 2 remove\n[    0.513300] # list: pass:1 fail:1 skip:0 total:2\n"
      "[    0.513400] not ok 1 list\n");
  ASSERT_THAT(names_of(results.tests), ElementsAre("list"));
  EXPECT_THAT(names_of(results.tests[0].tests), ElementsAre("add", "remove"));
}

TEST(Ktap, MissesWhatWasPlannedAndDidNotEnd) {
  EXPECT_THAT(counts_of("KTAP version 1\n1..5\nok 1 one\n  KTAP version 1\n  1..3\n  ok 1 inner\n"),
              ElementsAre(2, 0, 0, 4 + 2));
}

TEST(Ktap, ReadsSeveralProgramsOneAfterTheOther) {
  EXPECT_THAT(counts_of("TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..2\nok 1 b\nnot ok 2 c\n"),
              ElementsAre(2, 1, 0, 0));
}

TEST(Ktap, TakesNoNoiseForResults) {
  EXPECT_THAT(counts_of("KTAP version 1\nok then\nokay 1\nnot ok\nok 1x\n1..many\n"
                        "1..99999999999999999999\nok 1 real\n"),
              ElementsAre(1, 0, 0, 0));
}

TEST(Ktap, KeepsNoMoreThanItsBounds) {
  KtapReader reader;
  reader.read("KTAP version 1");
  for (std::size_t i = 0; i < KtapReader::tests_max + 10; ++i) {
    reader.read(std::string(2 * (i % 40), ' ') + "note");
    reader.read("ok 1 again");
  }
  const auto results = reader.finish();
  EXPECT_EQ(results.tests.size(), KtapReader::tests_max);
  EXPECT_EQ(results.counts.passed, KtapReader::tests_max + 10);
}

TEST(Junit, HasACaseForEachTestAndOneForTheRun) {
  const auto results = read(
      "KTAP version 1\n1..3\n  KTAP version 1\n  1..2\n  ok 1 a<b>\n  # why\n  not ok 2 fails # exit=1\n"
      "not ok 1 suite\nok 2 skipped # SKIP no disk\n");
  EXPECT_EQ(to_junit({.name = "Linux 6.1, sev", .error = std::nullopt, .seconds = 1.5}, results),
            R"(<?xml version="1.0"?>
<testsuites tests="5" failures="1" errors="1" skipped="1">
  <testsuite name="cbit" tests="1" failures="0" errors="0" skipped="0">
    <testcase classname="cbit" name="Linux 6.1, sev" time="1.500" />
  </testsuite>
  <testsuite name="guest" tests="2" failures="0" errors="1" skipped="1">
    <testcase classname="guest" name="skipped">
      <skipped message="no disk" />
    </testcase>
    <testcase classname="guest" name="what did not end">
      <error message="1 tests were planned and did not end" />
    </testcase>
  </testsuite>
  <testsuite name="guest/suite" tests="2" failures="1" errors="0" skipped="0">
    <testcase classname="guest/suite" name="a&lt;b>" />
    <testcase classname="guest/suite" name="fails">
      <failure message="exit=1" />
      <system-out>  # why
</system-out>
    </testcase>
  </testsuite>
</testsuites>
)");
}

TEST(Junit, TellsWhatEndedTheRunAndShowsWhatIsNoXml) {
  const auto results = read("KTAP version 1\nok 1 a\x1b[31m\x01 name\n");
  const std::string xml =
      to_junit({.name = "image", .error = "Kernel panic - not syncing: VFS", .seconds = 0}, results);
  EXPECT_THAT(xml, HasSubstr(R"(<error message="Kernel panic - not syncing: VFS" />)"));
  EXPECT_THAT(xml, HasSubstr(R"(name="a\x1b[31m\x01 name")"));
  EXPECT_THAT(xml, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace cbit::guest
