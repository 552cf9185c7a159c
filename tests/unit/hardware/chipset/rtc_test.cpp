// Expected values are those of the Motorola MC146818A datasheet (ADI-1009).
#include "chipset/rtc.hpp"

#include <gtest/gtest.h>

#include <tuple>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

// 2024-02-28 23:59:58, a Wednesday; `date -u -d @1709164798`.
constexpr std::int64_t before_leap_day = 1'709'164'798;
constexpr std::uint64_t second_ns = 1'000'000'000;

struct RtcTest : testing::Test {
  RtcTest() { pc.outb(0x30, 0x43); }  // the PIT waits for a count
  void run_seconds(std::uint64_t count) { pc.clock.advance(count * second_ns); }
  std::tuple<int, int, int, int, int, int> date_and_time() {
    return {pc.cmos(0x09), pc.cmos(0x08), pc.cmos(0x07), pc.cmos(0x04), pc.cmos(0x02), pc.cmos(0x00)};
  }
  static chipset::PcConfig config() {
    chipset::PcConfig config;
    config.rtc.start_seconds = before_leap_day;
    config.rtc.memory_below_4g_bytes = 512ull << 20;
    return config;
  }

  test::TestPc pc{config()};
  bus::IrqLine& irq = pc.pc.irq(8);
};

TEST_F(RtcTest, ShowsTheTimeOfItsConfigurationInBcd) {
  EXPECT_EQ(date_and_time(), std::make_tuple(0x24, 0x02, 0x28, 0x23, 0x59, 0x58));
  EXPECT_EQ(pc.cmos(0x32), 0x20);
  EXPECT_EQ(pc.cmos(0x06), 4);  // Wednesday
  EXPECT_EQ(pc.cmos(0x0a), 0x26);
  EXPECT_EQ(pc.cmos(0x0b), 0x02);
  EXPECT_EQ(pc.cmos(0x0d), 0x80);
}

TEST_F(RtcTest, CountsSecondsIntoALeapDayAndBeyond) {
  run_seconds(2);
  EXPECT_EQ(date_and_time(), std::make_tuple(0x24, 0x02, 0x29, 0x00, 0x00, 0x00));
  EXPECT_EQ(pc.cmos(0x06), 5);
  run_seconds(86'400);
  EXPECT_EQ(date_and_time(), std::make_tuple(0x24, 0x03, 0x01, 0x00, 0x00, 0x00));
  run_seconds(400ull * 86'400);
  EXPECT_EQ(date_and_time(), std::make_tuple(0x25, 0x04, 0x05, 0x00, 0x00, 0x00));
  EXPECT_EQ(pc.cmos(0x06), 7);  // a Saturday
}

TEST_F(RtcTest, CarriesIntoTheCentury) {
  pc.set_cmos(0x09, 0x99);
  pc.set_cmos(0x08, 0x12);
  pc.set_cmos(0x07, 0x31);
  run_seconds(2);
  EXPECT_EQ(date_and_time(), std::make_tuple(0x00, 0x01, 0x01, 0x00, 0x00, 0x00));
  EXPECT_EQ(pc.cmos(0x32), 0x21);
}

TEST_F(RtcTest, CountsInBinaryAndInTwelveHours) {
  pc.set_cmos(0x0b, 0x84);  // SET, binary, 12 hours
  pc.set_cmos(0x04, 0x80 | 11);
  pc.set_cmos(0x02, 59);
  pc.set_cmos(0x00, 59);
  pc.set_cmos(0x07, 28);
  pc.set_cmos(0x08, 2);
  pc.set_cmos(0x09, 23);
  pc.set_cmos(0x32, 20);
  pc.set_cmos(0x0b, 0x04);
  run_seconds(1);
  EXPECT_EQ(date_and_time(), std::make_tuple(23, 3, 1, 12, 0, 0)) << "midnight is 12 AM";
  run_seconds(43'200);
  EXPECT_EQ(pc.cmos(0x04), 0x80 | 12) << "noon is 12 PM";
  run_seconds(3'600);
  EXPECT_EQ(pc.cmos(0x04), 0x80 | 1);
}

TEST_F(RtcTest, StandsStillWhileItIsSet) {
  pc.set_cmos(0x0b, 0x82);
  run_seconds(10);
  EXPECT_EQ(pc.cmos(0x00), 0x58);
  EXPECT_EQ(pc.cmos(0x0a) & 0x80, 0);
  EXPECT_EQ(pc.cmos(0x0c), 0x40) << "the periodic flag goes on, the update flag does not";
  pc.set_cmos(0x0b, 0x02);
  run_seconds(1);
  EXPECT_EQ(pc.cmos(0x00), 0x59);
}

// Table 6: 244 us before an update, and 1984 us for it.
TEST_F(RtcTest, SaysWhenAnUpdateIsNear) {
  EXPECT_EQ(pc.cmos(0x0a), 0x26);
  pc.clock.advance(second_ns - 2'228'001);
  EXPECT_EQ(pc.cmos(0x0a), 0x26);
  pc.clock.advance(1);
  EXPECT_EQ(pc.cmos(0x0a), 0xa6);
  pc.clock.advance(2'228'000 - 1);
  EXPECT_EQ(pc.cmos(0x0a), 0xa6);
  EXPECT_EQ(pc.cmos(0x00), 0x58);
  pc.clock.advance(1);
  EXPECT_EQ(pc.cmos(0x0a), 0x26);
  EXPECT_EQ(pc.cmos(0x00), 0x59);
}

TEST_F(RtcTest, UpdatesHalfASecondAfterTheDividerIsReleased) {
  pc.clock.advance(300'000'000);
  pc.set_cmos(0x0a, 0x70);
  run_seconds(5);
  EXPECT_EQ(pc.cmos(0x00), 0x58);
  pc.set_cmos(0x0a, 0x20);
  pc.clock.advance(second_ns / 2 - 1);
  EXPECT_EQ(pc.cmos(0x00), 0x58);
  pc.clock.advance(1);
  EXPECT_EQ(pc.cmos(0x00), 0x59);
  pc.clock.advance(second_ns);
  EXPECT_EQ(pc.cmos(0x00), 0x00);
}

TEST_F(RtcTest, InterruptsAfterEachUpdateUntilItsFlagsAreRead) {
  pc.set_cmos(0x0b, 0x12);
  EXPECT_EQ(pc.clock.next_deadline(), second_ns);
  run_seconds(1);
  EXPECT_TRUE(irq.asserted());
  EXPECT_FALSE(pc.clock.next_deadline()) << "nothing more to tell until it is read";
  EXPECT_EQ(pc.cmos(0x0c), 0xd0);
  EXPECT_FALSE(irq.asserted());
  EXPECT_EQ(pc.cmos(0x0c), 0x00);
  run_seconds(1);
  EXPECT_TRUE(irq.asserted());
}

TEST_F(RtcTest, ClearsTheUpdateInterruptWithSet) {
  pc.set_cmos(0x0b, 0x92);
  EXPECT_EQ(pc.cmos(0x0b), 0x82);
}

// Table 5.
TEST_F(RtcTest, InterruptsPeriodically) {
  const std::pair<int, std::uint64_t> rows[] = {{1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {8, 256}, {15, 2}};
  for (const auto& [rate, hz] : rows) {
    pc.set_cmos(0x0a, static_cast<std::uint8_t>(0x20 | rate));
    pc.set_cmos(0x0b, 0x42);
    pc.cmos(0x0c);
    std::uint64_t count = 0;
    const std::uint64_t end = pc.clock.now_ns() + second_ns;
    while (*pc.clock.next_deadline() <= end) {
      pc.clock.advance(*pc.clock.next_deadline() - pc.clock.now_ns());
      EXPECT_TRUE(irq.asserted());
      EXPECT_EQ(pc.cmos(0x0c) & 0xc0, 0xc0);
      ++count;
    }
    EXPECT_EQ(count, hz) << rate;
    pc.clock.advance(end - pc.clock.now_ns());
  }
  pc.set_cmos(0x0a, 0x20);
  EXPECT_FALSE(pc.clock.next_deadline()) << "rate 0 is none";
}

TEST_F(RtcTest, SetsItsFlagsWithoutInterrupts) {
  EXPECT_EQ(pc.cmos(0x0c), 0x00);
  run_seconds(1);
  EXPECT_FALSE(irq.asserted());
  EXPECT_EQ(pc.cmos(0x0c), 0x50);
  EXPECT_EQ(pc.cmos(0x0c), 0x00);
}

TEST_F(RtcTest, InterruptsAtTheAlarm) {
  pc.set_cmos(0x05, 0x00);
  pc.set_cmos(0x03, 0x01);
  pc.set_cmos(0x01, 0x30);
  pc.set_cmos(0x0b, 0x22);
  run_seconds(91);
  EXPECT_FALSE(irq.asserted());
  run_seconds(1);
  EXPECT_TRUE(irq.asserted());
  EXPECT_EQ(date_and_time(), std::make_tuple(0x24, 0x02, 0x29, 0x00, 0x01, 0x30));
  EXPECT_EQ(pc.cmos(0x0c) & 0xb0, 0xb0);
  run_seconds(86'399);
  EXPECT_FALSE(irq.asserted());
  run_seconds(1);
  EXPECT_TRUE(irq.asserted()) << "every day";
}

TEST_F(RtcTest, TakesAnAlarmByteFromC0OnForAnyValue) {
  pc.set_cmos(0x05, 0xff);
  pc.set_cmos(0x03, 0xc0);
  pc.set_cmos(0x01, 0x05);
  pc.set_cmos(0x0b, 0x22);
  run_seconds(7);
  EXPECT_TRUE(irq.asserted());
  pc.cmos(0x0c);
  run_seconds(60);
  EXPECT_TRUE(irq.asserted()) << "every minute";
  pc.set_cmos(0x01, 0xff);
  pc.cmos(0x0c);
  run_seconds(1);
  EXPECT_TRUE(irq.asserted()) << "every second";
}

TEST_F(RtcTest, HasNoDeadlineForAnAlarmThatNeverComes) {
  pc.set_cmos(0x05, 0xff);
  pc.set_cmos(0x03, 0xff);
  pc.set_cmos(0x01, 0x7f);
  pc.set_cmos(0x0b, 0x22);
  EXPECT_FALSE(pc.clock.next_deadline());
  run_seconds(100'000);
  EXPECT_EQ(pc.cmos(0x0c) & 0x20, 0);
}

TEST_F(RtcTest, SeesAnAlarmThatPassedWhileNobodyLooked) {
  pc.set_cmos(0x05, 0x12);
  pc.set_cmos(0x03, 0x00);
  pc.set_cmos(0x01, 0x00);
  run_seconds(43'201);
  EXPECT_EQ(pc.cmos(0x0c) & 0x20, 0);
  run_seconds(1);
  EXPECT_EQ(pc.cmos(0x0c) & 0x20, 0x20);
}

TEST_F(RtcTest, MakesSomeTimeOfNonsense) {
  for (const int index : {0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32})
    pc.set_cmos(static_cast<std::uint8_t>(index), 0xff);
  run_seconds(1);
  EXPECT_LE(pc.cmos(0x00), 0x59);
  EXPECT_LE(pc.cmos(0x08), 0x12);
  EXPECT_EQ(pc.cmos(0x06), 0xff) << "no day of the week stays none";
}

TEST_F(RtcTest, KeepsRamAndTimeButNoInterruptsAcrossAReset) {
  pc.set_cmos(0x40, 0xab);
  pc.set_cmos(0x0b, 0x7a);
  run_seconds(1);
  EXPECT_TRUE(irq.asserted());
  pc.pc.rtc().reset();
  EXPECT_FALSE(irq.asserted());
  EXPECT_EQ(pc.cmos(0x0b), 0x02);
  EXPECT_EQ(pc.cmos(0x0c), 0x00);
  EXPECT_EQ(pc.cmos(0x40), 0xab);
  EXPECT_EQ(pc.cmos(0x00), 0x59);
}

TEST_F(RtcTest, HasTheMemorySizesOfFirmware) {
  EXPECT_EQ(pc.cmos(0x15) | pc.cmos(0x16) << 8, 640);
  EXPECT_EQ(pc.cmos(0x17) | pc.cmos(0x18) << 8, 0xffff);                  // KiB from 1 MiB on
  EXPECT_EQ(pc.cmos(0x34) | pc.cmos(0x35) << 8, (512 - 16) * 1024 / 64);  // 64 KiB from 16 MiB on
  EXPECT_EQ(pc.cmos(0x5b) | pc.cmos(0x5c) << 8 | pc.cmos(0x5d) << 16, 0);
}

TEST_F(RtcTest, MasksNmiByItsIndexPort) {
  pc.outb(0x8d, 0x70);
  EXPECT_TRUE(pc.pc.rtc().nmi_masked());
  EXPECT_EQ(pc.inb(0x71), 0x80) << "register D";
  EXPECT_EQ(pc.inb(0x70), 0xff) << "cannot be read";
  pc.outb(0x0d, 0x70);
  EXPECT_FALSE(pc.pc.rtc().nmi_masked());
}

TEST_F(RtcTest, DoesNotLetItsStatusBeWritten) {
  pc.set_cmos(0x0c, 0xff);
  pc.set_cmos(0x0d, 0x00);
  pc.set_cmos(0x0a, 0xa6);
  EXPECT_EQ(pc.cmos(0x0c), 0x00);
  EXPECT_EQ(pc.cmos(0x0d), 0x80);
  EXPECT_EQ(pc.cmos(0x0a), 0x26);
}

}  // namespace
}  // namespace cbit::chipset
