// How a run goes over time: from events alone, in bounded memory.
#include "guest/history.hpp"

#include <gtest/gtest.h>

#include "guest/watch_report.hpp"

namespace cbit::guest {
namespace {

struct HistoryTest : ::testing::Test {
  Clock clock;
  Tracer tracer{clock};
  History history;
  HistoryTest() { tracer.attach(history); }
  ~HistoryTest() override { tracer.detach(history); }

  template <class Payload>
  void after(std::uint64_t ns, Payload payload) {
    clock.advance(ns);
    tracer.emit({}, std::move(payload));
  }
};

constexpr std::uint64_t ms = History::first_sample_ns;

TEST_F(HistoryTest, FollowsSharedPagesUpAndDown) {
  after(0, PageConversion{.pages = 16, .encrypted = false});
  after(3 * ms, PageConversion{.pages = 4, .encrypted = true});
  history.finish(5 * ms);
  ASSERT_EQ(history.samples().size(), 6u);
  EXPECT_EQ(history.samples()[0].shared_pages, 16u);
  EXPECT_EQ(history.samples()[2].shared_pages, 16u) << "nothing happened in between";
  EXPECT_EQ(history.samples()[3].shared_pages, 12u);
  EXPECT_EQ(history.samples()[5].shared_pages, 12u);
}

TEST_F(HistoryTest, NeverHasFewerThanNoSharedPages) {
  after(0, PageConversion{.pages = 4, .encrypted = true});
  after(0, PageConversion{.pages = 1, .encrypted = false});
  EXPECT_EQ(history.samples()[0].shared_pages, 1u);
}

TEST_F(HistoryTest, KeepsTheHighestUseOfThePoolWithinASample) {
  after(0, SwiotlbAllocated{.slots = 5});
  after(1, SwiotlbReleased{.slots = 5});
  after(1, SwiotlbAllocated{.slots = 2});
  after(2 * ms, SwiotlbReleased{.slots = 2});
  history.finish(4 * ms);
  EXPECT_EQ(history.samples()[0].slots_max, 5u);
  EXPECT_EQ(history.samples()[1].slots_max, 2u) << "still in use";
  EXPECT_EQ(history.samples()[4].slots_max, 0u);
}

TEST_F(HistoryTest, TakesLongerSamplesWhenThereAreMany) {
  const NameId disk = tracer.intern("0000:00:03.0");
  for (int i = 0; i < 1000; ++i) after(ms, DeviceAccess{.device = disk, .bytes = 512});
  EXPECT_LE(history.samples().size(), History::samples_max);
  EXPECT_EQ(history.sample_ns(), 2 * ms);
  std::uint64_t bytes = 0;
  for (const History::Sample& sample : history.samples())
    for (const auto& [device, moved] : sample.device_bytes) bytes += moved;
  EXPECT_EQ(bytes, 512'000u);
}

TEST_F(HistoryTest, OfAYearFitsAsWell) {
  after(0, SwiotlbAllocated{.slots = 7});
  after(365ull * 24 * 3600 * 1'000'000'000, SwiotlbReleased{.slots = 7});
  EXPECT_LE(history.samples().size(), History::samples_max);
  EXPECT_EQ(history.samples()[0].slots_max, 7u);
}

TEST_F(HistoryTest, BecomesPicturesOfAPageWithoutMarkupFromTheGuest) {
  const NameId device = tracer.intern("<script>");
  after(0, PageConversion{.pages = 16, .encrypted = false});
  after(ms, DeviceAccess{.device = device, .bytes = 1 << 20});
  const std::string html = to_html({.platform = "sev", .kernel = "6.1<b>"}, history, tracer);
  EXPECT_NE(html.find("16 pages"), std::string::npos) << "the highest value";
  EXPECT_NE(html.find("1000 MiB/s"), std::string::npos) << "1 MiB in a millisecond";
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_EQ(html.find("6.1<b>"), std::string::npos);
}

}  // namespace
}  // namespace cbit::guest
