// Expected values are those of the Intel 8254 datasheet (231164), "Mode Definitions": a count that is written
// is loaded by the next pulse of the clock.
#include "chipset/pit.hpp"

#include <gtest/gtest.h>

#include <string>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

using Ticks = PitCounter::Ticks;

// OUT at ticks first, first + 1 ...: H or L.
std::string out_of(PitCounter& counter, Ticks first, unsigned count) {
  std::string out;
  for (unsigned i = 0; i < count; ++i) out += counter.out(first + i) ? 'H' : 'L';
  return out;
}

struct PitCounterTest : testing::Test {
  PitCounterTest() { counter.reset(0, true); }
  // Mode, and a count of one byte, at tick 100: it is loaded at 101.
  void program(unsigned mode, std::uint8_t count) {
    counter.write_control(100, static_cast<std::uint8_t>(0x10 | mode << 1));
    counter.write(100, count);
  }
  unsigned value(Ticks at) { return counter.read(at); }

  PitCounter counter;
};

TEST_F(PitCounterTest, Mode0GoesHighOnePulseMoreThanTheCountAfterTheWrite) {
  program(0, 4);
  EXPECT_EQ(out_of(counter, 100, 7), "LLLLLHH");
  EXPECT_EQ(counter.next_edge(101), 105u);
  EXPECT_EQ(counter.next_edge(105), std::nullopt);
}

TEST_F(PitCounterTest, Mode0CountsOnBelowZero) {
  program(0, 4);
  EXPECT_EQ(value(101), 4u);
  EXPECT_EQ(value(104), 1u);
  EXPECT_EQ(value(105), 0u);
  EXPECT_EQ(value(106), 0xffu);
}

TEST_F(PitCounterTest, Mode0StandsStillWhileTheGateIsLow) {
  program(0, 4);
  counter.set_gate(102, false);
  EXPECT_EQ(value(110), 3u);
  EXPECT_EQ(counter.next_edge(110), std::nullopt);
  counter.set_gate(110, true);
  EXPECT_EQ(value(111), 2u);
  EXPECT_EQ(out_of(counter, 111, 4), "LLHH");
}

TEST_F(PitCounterTest, Mode0LoadsACountWhileTheGateIsLow) {
  counter.set_gate(90, false);
  program(0, 4);
  EXPECT_EQ(value(105), 4u);
  counter.set_gate(110, true);
  EXPECT_EQ(out_of(counter, 110, 6), "LLLLHH");
}

TEST_F(PitCounterTest, Mode0StopsAtTheFirstOfTwoBytes) {
  counter.write_control(100, 0x30);
  counter.write(100, 5);
  counter.write(100, 0);
  EXPECT_TRUE(counter.out(106));
  counter.write(107, 3);
  EXPECT_FALSE(counter.out(107));
  EXPECT_FALSE(counter.out(500)) << "waits for the second";
  counter.write(500, 0);
  EXPECT_EQ(out_of(counter, 500, 6), "LLLLHH");
}

TEST_F(PitCounterTest, Mode1IsLowForTheCountAfterATrigger) {
  program(1, 3);
  EXPECT_EQ(out_of(counter, 100, 10), "HHHHHHHHHH");
  counter.set_gate(110, false);
  counter.set_gate(111, true);
  EXPECT_EQ(out_of(counter, 111, 6), "HLLLHH");
  counter.set_gate(120, false);
  counter.set_gate(121, true);
  counter.set_gate(122, false);
  EXPECT_EQ(counter.out(123), false) << "the gate's level does not matter";
  counter.set_gate(123, true);
  EXPECT_EQ(out_of(counter, 123, 6), "LLLLHH") << "a trigger starts it anew";
  EXPECT_EQ(counter.next_edge(124), 127u);
}

TEST_F(PitCounterTest, Mode2IsLowForTheLastPulseOfEachPeriod) {
  program(2, 3);
  EXPECT_EQ(out_of(counter, 100, 10), "HHHLHHLHHL");
  EXPECT_EQ(value(101), 3u);
  EXPECT_EQ(value(103), 1u);
  EXPECT_EQ(value(104), 3u);
  EXPECT_EQ(counter.next_edge(104), 106u);
  EXPECT_EQ(counter.next_edge(106), 107u);
}

TEST_F(PitCounterTest, Mode2TakesANewCountAtTheEndOfThePeriod) {
  program(2, 3);
  counter.write(102, 5);
  EXPECT_EQ(out_of(counter, 102, 10), "HLHHHHLHHH");
}

TEST_F(PitCounterTest, Mode2IsHighWhileTheGateIsLowAndStartsAnewAfter) {
  program(2, 3);
  counter.set_gate(103, false);
  EXPECT_TRUE(counter.out(103));
  EXPECT_EQ(counter.next_edge(103), std::nullopt);
  counter.write(105, 4);
  counter.set_gate(110, true);
  EXPECT_EQ(out_of(counter, 110, 7), "HHHHLHH") << "with the new count";
}

TEST_F(PitCounterTest, Mode3IsASquareWave) {
  program(3, 4);
  EXPECT_EQ(out_of(counter, 101, 8), "HHLLHHLL");
  EXPECT_EQ(value(101), 4u);
  EXPECT_EQ(value(102), 2u);
  EXPECT_EQ(value(103), 4u);
  EXPECT_EQ(counter.next_edge(101), 103u);
  EXPECT_EQ(counter.next_edge(103), 105u);
}

TEST_F(PitCounterTest, Mode3IsHighForOnePulseMoreWithAnOddCount) {
  program(3, 5);
  EXPECT_EQ(out_of(counter, 101, 10), "HHHLLHHHLL");
  const unsigned values[] = {4, 2, 0, 4, 2, 4};
  for (unsigned i = 0; i < 6; ++i) EXPECT_EQ(value(101 + i), values[i]) << i;
}

TEST_F(PitCounterTest, Mode3TakesANewCountAtTheEndOfTheHalfCycle) {
  program(3, 4);
  counter.write(101, 6);
  EXPECT_EQ(out_of(counter, 101, 11), "HHLLLHHHLLL");
  program(3, 4);
  counter.write(103, 6);
  EXPECT_EQ(out_of(counter, 103, 9), "LLHHHLLLH");
}

TEST_F(PitCounterTest, Mode4StrobesOnePulseLater) {
  program(4, 3);
  EXPECT_EQ(out_of(counter, 100, 8), "HHHHLHHH");
  EXPECT_EQ(counter.next_edge(101), 104u);
  EXPECT_EQ(counter.next_edge(104), 105u);
  EXPECT_EQ(counter.next_edge(105), std::nullopt) << "once";
}

TEST_F(PitCounterTest, Mode5StrobesAfterATrigger) {
  program(5, 3);
  EXPECT_EQ(out_of(counter, 100, 8), "HHHHHHHH");
  counter.set_gate(110, false);
  counter.set_gate(111, true);
  EXPECT_EQ(out_of(counter, 111, 7), "HHHHLHH");
}

TEST_F(PitCounterTest, CountsInDecimal) {
  counter.write_control(100, 0x31);
  counter.write(100, 0x00);
  counter.write(100, 0x12);
  counter.latch_count(102);
  EXPECT_EQ(value(150), 0x99u);
  EXPECT_EQ(value(150), 0x11u);
  counter.write(200, 0);
  counter.write(200, 0);  // 10000
  EXPECT_FALSE(counter.out(10'200));
  EXPECT_TRUE(counter.out(10'201));
}

TEST_F(PitCounterTest, TakesZeroForTheLargestCount) {
  counter.write_control(100, 0x34);
  counter.write(100, 0);
  counter.write(100, 0);
  EXPECT_EQ(counter.next_edge(101), 101u + 65'535);
}

TEST_F(PitCounterTest, LatchesACountUntilItHasBeenRead) {
  counter.write_control(100, 0x34);
  counter.write(100, 0x34);
  counter.write(100, 0x12);
  counter.latch_count(102);  // 1233h
  counter.latch_count(200);
  EXPECT_EQ(value(300), 0x33u);
  EXPECT_EQ(value(301), 0x12u);
  EXPECT_EQ(value(101 + 0x34), 0x00u);
}

TEST_F(PitCounterTest, LatchesItsStatus) {
  counter.write_control(100, 0x34);
  counter.latch_status(100);
  EXPECT_EQ(value(100), 0xf4u);  // OUT, null count, what was written
  counter.write(100, 3);
  counter.write(100, 0);
  counter.latch_status(100);
  EXPECT_EQ(value(100), 0xf4u) << "not loaded yet";
  counter.latch_status(101);
  EXPECT_EQ(value(101), 0xb4u);
  counter.latch_status(103);
  EXPECT_EQ(value(103), 0x34u);
  counter.write(103, 9);
  counter.write(103, 0);
  counter.latch_status(103);
  EXPECT_EQ(value(103), 0x74u) << "loaded at the end of the period";
  counter.latch_status(104);
  EXPECT_EQ(value(104), 0xb4u);
}

TEST_F(PitCounterTest, GivesTheStatusBeforeTheCount) {
  counter.write_control(100, 0x30);
  counter.write(100, 0x34);
  counter.write(100, 0x12);
  counter.latch_count(101);
  counter.latch_status(101);
  EXPECT_EQ(value(102), 0x30u);
  EXPECT_EQ(value(102), 0x34u);
  EXPECT_EQ(value(102), 0x12u);
}

TEST_F(PitCounterTest, ReadsOnlyTheHighByteWhereTheControlWordSaysSo) {
  counter.write_control(100, 0x20);
  counter.write(100, 0x12);
  EXPECT_EQ(value(101), 0x12u);
  EXPECT_EQ(value(102), 0x11u);
}

TEST_F(PitCounterTest, KnowsTwoModesByTwoNumbers) {
  program(6, 3);
  EXPECT_EQ(out_of(counter, 101, 6), "HHLHHL");
  counter.latch_status(101);
  EXPECT_EQ(value(101), 0x9cu) << "as written";
}

TEST_F(PitCounterTest, CountsTwoWhereOneIsNotAllowed) {
  program(2, 1);
  EXPECT_EQ(out_of(counter, 101, 4), "HLHL");
  program(3, 1);
  EXPECT_EQ(out_of(counter, 101, 4), "HLHL");
}

struct PitTest : testing::Test {
  test::TestPc pc;
};

TEST_F(PitTest, DrivesIrq0) {
  pc.outb(0x34, 0x43);
  pc.outb(0xa9, 0x40);
  pc.outb(0x04, 0x40);  // 1193 ticks: about 1 ms
  int edges = 0;
  bool before = pc.pc.irq(0).high();
  const std::uint64_t start = pc.clock.now_ns();
  while (pc.clock.now_ns() - start < 100'000'000) {
    pc.clock.advance(*pc.clock.next_deadline() - pc.clock.now_ns());
    const bool now = pc.pc.irq(0).high();
    edges += now && !before;
    before = now;
  }
  EXPECT_EQ(edges, 100);
}

TEST_F(PitTest, ReadsBackSeveralCountersAtOnce) {
  for (unsigned counter = 0; counter < 3; ++counter) {
    pc.outb(static_cast<std::uint8_t>(counter << 6 | 0x30), 0x43);
    const auto port = static_cast<std::uint16_t>(0x40 + counter);
    pc.outb(0xff, port);
    pc.outb(0xff, port);
  }
  pc.run_us(1000);
  pc.outb(0xc6, 0x43);  // count and status of 0 and 1
  pc.run_us(1000);
  EXPECT_EQ(pc.inb(0x40), 0x30);
  const unsigned low = pc.inb(0x40);
  EXPECT_NEAR(low | pc.inb(0x40) << 8, 0xffff - 1193, 2);
  EXPECT_EQ(pc.inb(0x41), 0x30);
  EXPECT_EQ(pc.inb(0x41), low);
  EXPECT_EQ(pc.inb(0x43), 0xff) << "cannot be read";
  pc.outb(0xee, 0x43);  // status only, of 2 among others
  EXPECT_EQ(pc.inb(0x42), 0x30) << "the gate of port 61h is closed, and OUT low";
}

TEST_F(PitTest, RunsAsFirmwareLeavesIt) {
  pc.outb(0xe2, 0x43);
  EXPECT_EQ(pc.inb(0x40) & 0x7f, 0x36);
  EXPECT_TRUE(pc.clock.next_deadline());
}

// System control port B.
TEST_F(PitTest, OpensTheGateOfCounter2ByPort61) {
  pc.outb(0x00, 0x61);
  pc.outb(0xb0, 0x43);
  pc.outb(0x10, 0x42);
  pc.outb(0x00, 0x42);
  pc.run_us(1000);
  EXPECT_EQ(pc.inb(0x61) & 0x20, 0);
  pc.outb(0x01, 0x61);
  pc.run_us(10);
  EXPECT_EQ(pc.inb(0x61) & 0x20, 0);
  pc.run_us(10);
  EXPECT_EQ(pc.inb(0x61) & 0x2f, 0x21);
  pc.outb(0xff, 0x61);
  EXPECT_EQ(pc.inb(0x61) & 0xcf, 0x0f);
}

TEST_F(PitTest, TogglesTheRefreshBitEvery15Us) {
  int toggles = 0;
  std::uint8_t before = pc.inb(0x61) & 0x10;
  for (int i = 0; i < 1000; ++i) {
    pc.run_us(1);
    const std::uint8_t now = pc.inb(0x61) & 0x10;
    toggles += now != before;
    before = now;
  }
  EXPECT_EQ(toggles, 66);  // 1000 / 15.085
}

}  // namespace
}  // namespace cbit::chipset
