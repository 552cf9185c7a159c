#include "base/clock.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace cbit {
namespace {

constexpr std::uint64_t end_of_time = std::numeric_limits<std::uint64_t>::max();

TEST(Clock, CallsDeadlinesInOrderOfTimeAndThenOfScheduling) {
  Clock clock;
  std::string order;
  clock.schedule(20, [&] { order += 'c'; });
  clock.schedule(10, [&] { order += 'a'; });
  clock.schedule(10, [&] { order += 'b'; });
  clock.schedule(31, [&] { order += 'x'; });
  clock.advance(30);
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(clock.now_ns(), 30u);
  EXPECT_EQ(clock.next_deadline(), 31u);
}

TEST(Clock, ShowsACallbackItsDeadlineAsThePresent) {
  Clock clock;
  std::vector<std::uint64_t> seen;
  clock.schedule(7, [&] {
    seen.push_back(clock.now_ns());
    clock.schedule(clock.now_ns() + 5, [&] { seen.push_back(clock.now_ns()); });
  });
  clock.advance(100);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{7, 12}));
  EXPECT_EQ(clock.now_ns(), 100u);
}

TEST(Clock, CallsADeadlineThatHasPassedOnlyWhenItIsAdvanced) {
  Clock clock;
  clock.advance(50);
  std::uint64_t seen = 0;
  clock.schedule(10, [&] { seen = clock.now_ns(); });
  EXPECT_EQ(seen, 0u);
  clock.advance(0);
  EXPECT_EQ(seen, 50u);
}

TEST(Clock, ForgetsWhatWasCancelled) {
  Clock clock;
  int calls = 0;
  const Clock::Id first = clock.schedule(5, [&] { ++calls; });
  const Clock::Id second = clock.schedule(5, [&] { ++calls; });
  EXPECT_TRUE(clock.cancel(first));
  EXPECT_FALSE(clock.cancel(first));
  EXPECT_FALSE(clock.cancel({}));
  clock.advance(5);
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(clock.cancel(second));
  EXPECT_FALSE(clock.next_deadline());
}

TEST(Clock, LetsACallbackCancelOneOfTheSameTime) {
  Clock clock;
  int calls = 0;
  Clock::Id second;
  clock.schedule(5, [&] { clock.cancel(second); });
  second = clock.schedule(5, [&] { ++calls; });
  clock.advance(5);
  EXPECT_EQ(calls, 0);
}

TEST(Clock, StandsStillAtTheEndOfTime) {
  Clock clock;
  clock.advance(end_of_time - 1);
  clock.advance(10);
  EXPECT_EQ(clock.now_ns(), end_of_time);
}

TEST(Timer, IsPendingOnceAndStopsWhenItEnds) {
  Clock clock;
  int calls = 0;
  {
    Timer timer{clock, [&] { ++calls; }};
    timer.start(10);
    timer.start(20);
    clock.advance(15);
    EXPECT_EQ(calls, 0);
    EXPECT_TRUE(timer.pending());
    clock.advance(5);
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(timer.pending());
    timer.start(30);
  }
  clock.advance(50);
  EXPECT_EQ(calls, 1);
}

TEST(TickCounter, CountsWithoutDrift) {
  TickCounter pit{1'193'182};
  EXPECT_EQ(pit.at(0), 0u);
  EXPECT_EQ(pit.at(838), 0u);
  EXPECT_EQ(pit.at(839), 1u);  // a tick is 838.09 ns
  EXPECT_EQ(pit.at(ns_per_second), 1'193'182u);
  EXPECT_EQ(pit.at(3600 * ns_per_second), 3600ull * 1'193'182);
}

TEST(TickCounter, NamesTheFirstTimeOfAValue) {
  TickCounter counter{2'700'000'000};
  counter.set(1'000, 500);
  for (const std::uint64_t value : {501ull, 502ull, 503ull, 3'000ull, 1ull << 40}) {
    const std::uint64_t when = counter.time_of(value);
    EXPECT_GE(counter.at(when), value);
    EXPECT_LT(counter.at(when - 1), value);
  }
  EXPECT_EQ(counter.time_of(499), 1'000u);
  EXPECT_EQ(TickCounter{1}.time_of(end_of_time), end_of_time);
}

}  // namespace
}  // namespace cbit
