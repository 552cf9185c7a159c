#include "process/page_runs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/random.hpp"

namespace cbit::process {
namespace {

constexpr watch::Uniformity even{.bytes = 255, .balance = 1, .patterns4 = 8, .patterns8 = 128};

watch::PageLook ciphertext(double patterns8 = 128) {
  watch::Uniformity uniformity = even;
  uniformity.patterns8 = patterns8;
  return {.looks = watch::PageLooks::ciphertext, .entropy = 7.95, .uniformity = uniformity};
}
watch::PageLook compressed() {
  return {.looks = watch::PageLooks::compressed, .entropy = 7.9, .why = "8-bit patterns"};
}
watch::PageLook plain(watch::PageLooks looks) { return {.looks = looks, .entropy = 4}; }

std::vector<PageRun> runs_of(const std::vector<PagesSeen>& seen) {
  std::vector<PageRun> runs;
  RunMerger merger{[&](const PageRun& run) { runs.push_back(run); }};
  for (const PagesSeen& pages : seen) merger.add(pages);
  merger.finish();
  return runs;
}

// One page of each look, in a row.
std::vector<PagesSeen> in_a_row(const std::vector<watch::PageLook>& looks) {
  std::vector<PagesSeen> seen;
  for (std::size_t i = 0; i < looks.size(); ++i) seen.push_back({VirtAddr{i * page_size}, 1, looks[i]});
  return seen;
}

std::string_view verdict(const std::vector<watch::PageLook>& looks) {
  const auto runs = runs_of(in_a_row(looks));
  EXPECT_EQ(runs.size(), 1u);
  return runs.front().looks;
}

TEST(PageRuns, AreOfPagesThatLookAlike) {
  const auto runs = runs_of(in_a_row(
      {plain(watch::PageLooks::text), plain(watch::PageLooks::text), plain(watch::PageLooks::zeros)}));
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].pages, 2u);
  EXPECT_EQ(runs[0].looks, "text");
  EXPECT_EQ(runs[1].at, VirtAddr{2 * page_size});
}

TEST(PageRuns, EndAtAGap) {
  EXPECT_EQ(runs_of({{VirtAddr{0}, 1, plain(watch::PageLooks::text)},
                     {VirtAddr{0x2000}, 1, plain(watch::PageLooks::text)}})
                .size(),
            2u);
}

TEST(PageRuns, TakeManyPagesAtOnce) {
  const auto runs = runs_of({{VirtAddr{0}, 1 << 30, plain(watch::PageLooks::absent)},
                             {VirtAddr{4096ull << 30}, 7, plain(watch::PageLooks::absent)}});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].pages, (1u << 30) + 7u);
}

TEST(PageRuns, OfCiphertextAreCiphertext) {
  EXPECT_EQ(verdict(std::vector<watch::PageLook>(100, ciphertext())), "ciphertext");
}

TEST(PageRuns, OfUnevenPagesTurnOutToBeCompressed) {
  EXPECT_EQ(verdict(std::vector<watch::PageLook>(16, ciphertext(170))), "compressed")
      << "no page shows it alone";
  EXPECT_EQ(verdict({ciphertext(170)}), "ciphertext");
}

TEST(PageRuns, OfMostlyCompressedPagesAreCompressed) {
  std::vector<watch::PageLook> looks(16, compressed());
  looks[3] = looks[9] = ciphertext();
  EXPECT_EQ(verdict(looks), "compressed");
}

TEST(PageRuns, SayWhenTheyAreMixed) {
  std::vector<watch::PageLook> looks(100, ciphertext());
  std::fill_n(looks.begin(), 10, compressed());
  EXPECT_EQ(verdict(looks), "mixed");
  EXPECT_EQ(verdict({ciphertext(), ciphertext(), compressed(), compressed()}), "mixed");
}

TEST(PageRuns, ForgiveTheFalseAlarmThatIsDue) {
  std::vector<PagesSeen> seen = in_a_row(std::vector<watch::PageLook>(5000, ciphertext()));
  seen[17].look = compressed();
  EXPECT_EQ(runs_of(seen).front().looks, "ciphertext") << "one in 5000: the odds are 0.006";
  seen[18].look = compressed();
  EXPECT_EQ(runs_of(seen).front().looks, "mixed");
}

RC_GTEST_PROP(PageRuns, CountEveryPageOnce, ()) {
  Random random{*rc::gen::arbitrary<std::uint64_t>()};
  std::vector<PagesSeen> seen;
  LookCounts expected;
  for (std::uint64_t at = 0; seen.size() < 200;) {
    at += random.below(4) == 0 ? page_size : 0;
    const auto looks = static_cast<watch::PageLooks>(random.below(watch::page_looks_count));
    const std::uint64_t pages = looks == watch::PageLooks::absent ? 1 + random.below(9) : 1;
    seen.push_back(
        {VirtAddr{at}, pages, looks == watch::PageLooks::ciphertext ? ciphertext() : plain(looks)});
    expected.add(looks, pages);
    at += pages * page_size;
  }
  LookCounts counts;
  VirtAddr end{0};
  for (const PageRun& run : runs_of(seen)) {
    RC_ASSERT(run.at >= end);
    RC_ASSERT(run.counts.total() == run.pages);
    counts.add(run.counts);
    end = run.at + run.pages * page_size;
  }
  RC_ASSERT(counts.of == expected.of);
}

}  // namespace
}  // namespace cbit::process
