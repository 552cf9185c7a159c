#include "guest/ktap.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

#include "base/text.hpp"
#include "watch/import/log_line.hpp"

namespace cbit::guest {
namespace {

using watch::LogScanner;

constexpr std::string_view blanks = " \t\r";

// Takes the indentation off, and tells its columns.
std::size_t take_indentation(std::string_view& line) {
  const std::string_view whole = line;
  while (line.starts_with(' ') || line.starts_with('\t') || line.starts_with("# ")) line.remove_prefix(1);
  return whole.size() - line.size();
}

std::optional<std::uint64_t> take_decimal(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool is_version(std::string_view line) {
  return line.starts_with("KTAP version ") || line.starts_with("TAP version ");
}

// "1..12"
std::optional<std::uint64_t> plan_of(std::string_view line) {
  if (!line.starts_with("1..") && !line.starts_with("0..")) return std::nullopt;
  line.remove_prefix(3);
  const auto tests = take_decimal(line);
  if (!trimmed(line).empty() && !trimmed(line).starts_with('#')) return std::nullopt;
  return tests;
}

// How many tests ended, as ksft_print_cnts() of Linux 6.1 says it (tools/testing/selftests/kselftest.h): some
// programs count their tests and print no result of each.
std::optional<std::uint64_t> total_of(std::string_view line) {
  LogScanner scan{line};
  if (!scan.skip("Totals:")) return std::nullopt;
  std::uint64_t total = 0;
  for (const std::string_view outcome : {" pass:", " fail:", " xfail:", " xpass:", " skip:", " error:"}) {
    const auto tests = scan.skip(outcome) ? scan.number() : std::nullopt;
    if (!tests || *tests > KtapReader::plan_max) return std::nullopt;
    total += *tests;
  }
  return total;
}

// What stands behind a result's "#".
void read_directive(KtapTest& test, bool ok, std::string_view text) {
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  const auto is = [word](std::string_view directive) {
    return std::ranges::equal(word, directive, {},
                              [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
  };
  const bool skipped = is("SKIP"), expected_to_fail = is("TODO") || is("XFAIL");
  if (skipped)
    test.outcome = TestOutcome::skipped;
  else if (!ok && expected_to_fail)
    test.outcome = TestOutcome::failed_as_expected;
  test.reason = skipped || expected_to_fail ? trimmed(text.substr(word.size())) : text;
}

// "ok 1 name", "not ok 2 - name # TIMEOUT 30 seconds"
std::optional<KtapTest> result_of(std::string_view line) {
  LogScanner scan{line};
  const bool ok = !scan.skip("not ");
  if (!scan.skip("ok")) return std::nullopt;
  std::string_view rest = scan.rest();
  if (!rest.starts_with(' ')) return std::nullopt;
  rest = trimmed(rest);
  const auto number = take_decimal(rest);
  if (!number || !(rest.empty() || rest.starts_with(' '))) return std::nullopt;
  rest = trimmed(rest);
  if (rest.starts_with("- ")) rest.remove_prefix(2);
  const std::size_t hash = std::min(rest.find('#'), rest.size());
  KtapTest test{.name = std::string{trimmed(rest.substr(0, hash))}};
  if (test.name.empty()) test.name = std::to_string(*number);
  test.outcome = ok ? TestOutcome::passed : TestOutcome::failed;
  if (hash != rest.size()) read_directive(test, ok, trimmed(rest.substr(hash + 1)));
  return test;
}

KtapCounts count(const KtapTest& test) {
  KtapCounts counts{.missing = test.missing};
  for (const KtapTest& inner : test.tests) counts += count(inner);
  if (!counts_itself(test)) return counts;
  switch (test.outcome) {
    case TestOutcome::passed: ++counts.passed; break;
    case TestOutcome::failed: ++counts.failed; break;
    case TestOutcome::skipped:
    case TestOutcome::failed_as_expected: ++counts.skipped; break;
  }
  return counts;
}

bool is_good(const KtapTest& test) { return count(test).good(); }

}  // namespace

KtapCounts& KtapCounts::operator+=(const KtapCounts& more) {
  passed += more.passed;
  failed += more.failed;
  skipped += more.skipped;
  missing += more.missing;
  return *this;
}

KtapResults& KtapResults::operator+=(KtapResults more) {
  std::ranges::move(more.tests, std::back_inserter(tests));
  missing += more.missing;
  counts += more.counts;
  return *this;
}

bool counts_itself(const KtapTest& test) {
  if (test.tests.empty()) return true;
  return test.outcome == TestOutcome::failed && test.missing == 0 && std::ranges::all_of(test.tests, is_good);
}

void KtapReader::read(std::string_view line) {
  if (line.starts_with('[')) line = watch::strip_stamps(line).text;
  std::string_view text = line;
  const std::size_t column = take_indentation(text);
  text = trimmed(text);
  if (is_version(text)) return begin(column);
  if (open_.empty()) return;
  if (const auto tests = plan_of(text); tests && *tests <= plan_max)
    group_at(column).planned += *tests;
  else if (auto test = result_of(text))
    add_result(column, std::move(*test));
  else
    read_note(column, text, line);
}

// A total is of the tests that its own "# " stands before.
void KtapReader::read_note(std::size_t column, std::string_view text, std::string_view line) {
  Group& group = open_.back();
  if (const auto total = total_of(text); total && column == group.column + 2)
    group.ended = std::max(group.ended, *total);
  add_note(line);
}

KtapResults KtapReader::finish() {
  Group rest;
  while (!open_.empty()) rest = close_innermost(std::move(rest));
  results_.missing += rest.missing;
  std::ranges::move(rest.tests, std::back_inserter(results_.tests));
  results_.counts.missing += results_.missing;
  for (const KtapTest& test : results_.tests) results_.counts += count(test);
  return std::exchange(results_, {});
}

// A second version line in the same column begins another program's results.
void KtapReader::begin(std::size_t column) {
  Group before = close_beyond(column);
  Group& group = open_.empty() ? open_.emplace_back(Group{.column = column}) : group_at(column);
  group.missing += before.missing;
  std::ranges::move(before.tests, std::back_inserter(group.tests));
}

// Tests within a test may begin without a version line, as in KUnit of Linux 5.x.
KtapReader::Group& KtapReader::group_at(std::size_t column) {
  if (open_.back().column < column && open_.size() < depth_max) open_.push_back({.column = column});
  return open_.back();
}

void KtapReader::add_result(std::size_t column, KtapTest test) {
  Group within = close_beyond(column);
  if (open_.empty()) open_.push_back({.column = column});
  Group& group = group_at(column);
  ++group.ended;
  test.notes = std::exchange(notes_, {});
  test.missing = within.missing;
  test.tests = std::move(within.tests);
  if (kept_ < tests_max) {
    ++kept_;
    group.tests.push_back(std::move(test));
  } else {
    results_.counts += count(test);
  }
}

void KtapReader::add_note(std::string_view line) {
  if (notes_.size() + line.size() >= notes_max) return;
  notes_ += line;
  notes_ += '\n';
}

KtapReader::Group KtapReader::close_beyond(std::size_t column) {
  Group closed;
  while (!open_.empty() && open_.back().column > column) closed = close_innermost(std::move(closed));
  return closed;
}

KtapReader::Group KtapReader::close_innermost(Group within) {
  Group group = std::move(open_.back());
  open_.pop_back();
  group.missing += within.missing + group.planned - std::min(group.planned, group.ended);
  std::ranges::move(within.tests, std::back_inserter(group.tests));
  return group;
}

}  // namespace cbit::guest
