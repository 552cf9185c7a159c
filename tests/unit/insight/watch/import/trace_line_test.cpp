#include "watch/import/trace_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace cbit::watch {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void expect_event(std::string_view line, unsigned cpu, std::uint64_t time_ns) {
  const auto found = parse_trace_line(line);
  ASSERT_TRUE(found.has_value()) << line;
  EXPECT_EQ(found->cpu, cpu) << line;
  EXPECT_EQ(found->time_ns, time_ns) << line;
  EXPECT_EQ(found->event, "dma_free") << line;
  EXPECT_EQ(found->text, "dev dir=NONE") << line;
}

TEST(TraceLine, IsOfFtraceWithAndWithoutFlagsAndThreadGroups) {
  expect_event("              dd-310     [003] d.h1.    50.000001: dma_free: dev dir=NONE", 3,
               50'000'001'000);
  expect_event("              dd-310     [003]    50.000001: dma_free: dev dir=NONE", 3, 50'000'001'000);
  expect_event("              dd-310     (    309) [003] .....    50.000001: dma_free: dev dir=NONE", 3,
               50'000'001'000);
}

TEST(TraceLine, IsOfTraceCmdWithMicrosecondsAndNanoseconds) {
  expect_event("              dd-151   [000]     2.827708: dma_free:             dev dir=NONE", 0,
               2'827'708'000);
  expect_event("              dd-151   [000]     2.827708123: dma_free:             dev dir=NONE", 0,
               2'827'708'123);
}

TEST(TraceLine, IsNotTakenFromTheNameOfATask) {
  expect_event("   [1] 2.0: ab: -310     [003] .....    50.000001: dma_free: dev dir=NONE", 3,
               50'000'001'000);
}

TEST(TraceLine, IsNotOneWithAClockThatCountsNoSecondsOrWithoutAnEvent) {
  EXPECT_FALSE(parse_trace_line("              dd-310     [003] .....   123456789: dma_free: dev"));
  EXPECT_FALSE(parse_trace_line("              dd-310     [003] .....   50.000001: "));
  EXPECT_FALSE(
      parse_trace_line("              dd-310     [003] .....   99999999999999999999.0: dma_free: x"));
  EXPECT_FALSE(parse_trace_line(""));
  EXPECT_FALSE(parse_trace_line(std::string(100'000, '[')));
}

TEST(TraceLine, TellsLostEventsInTheWordsOfTheKernelAndOfTraceCmd) {
  EXPECT_EQ(parse_lost_events("CPU:0 [LOST 123 EVENTS]"), 123u);
  EXPECT_EQ(parse_lost_events("CPU:1 [LOST EVENTS]"), 0u);
  EXPECT_EQ(parse_lost_events("CPU:7 [204600 EVENTS DROPPED]"), 204600u);
  EXPECT_EQ(parse_lost_events("CPU:7 [EVENTS DROPPED]"), 0u);
  EXPECT_FALSE(parse_lost_events("CPU:7 [EVENTS]"));
  EXPECT_FALSE(parse_lost_events("CPU: [LOST 1 EVENTS]"));
}

TEST(TraceLine, HasFieldsThatEndWhereTheNextBegins) {
  const std::string_view text = "dev dir=TO_DEVICE sizes=4096 8192 attrs=";
  EXPECT_EQ(trace_field(text, "dir"), "TO_DEVICE");
  EXPECT_EQ(trace_field(text, "sizes"), "4096 8192");
  EXPECT_EQ(trace_field(text, "attrs"), "");
  EXPECT_FALSE(trace_field(text, "ize"));
  EXPECT_FALSE(trace_field(text, "size"));
}

TEST(TraceLine, HasArraysOfTheKernelAndOfLibtraceevent) {
  EXPECT_THAT(*trace_array("{0x1000,0x2000}"), ElementsAre(0x1000, 0x2000));
  EXPECT_THAT(*trace_array("4096 8192"), ElementsAre(4096, 8192));
  EXPECT_THAT(*trace_array("{}"), IsEmpty());
  EXPECT_FALSE(trace_array("{0x1000,0x2")) << "cut off";
  EXPECT_FALSE(trace_array("{0x1000 0x2000}"));
}

}  // namespace
}  // namespace cbit::watch
