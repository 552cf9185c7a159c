// The local APIC's timer at 1 GHz. Section numbers are those of the Intel SDM vol. 3, chapter 11.
#include "chipset/lapic_timer.hpp"

#include <gtest/gtest.h>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;
using test::TestPc;

constexpr std::uint32_t timer_masked = 1 << 16;
constexpr std::uint32_t periodic = 1 << 17;
constexpr std::uint32_t tsc_mode = 2 << 17;
constexpr std::uint32_t deadline_msr = 0x6e0;

struct LapicTimerTest : testing::Test {
  LapicTimerTest() {
    pc.set_apic(reg::svr, 0x1ff);
    pc.set_apic(reg::divide, 0xb);  // by 1
    pc.outb(0x30, 0x43);            // the PIT waits for a count, so that the clock has no other deadlines
  }
  TestPc pc{{.virtual_wire = false}};
  Lapic& lapic = pc.pc.lapic(0);
};

TEST_F(LapicTimerTest, CountsDownOnceAndInterrupts) {
  pc.set_apic(reg::lvt_timer, 0xee);
  pc.set_apic(reg::initial_count, 1000);
  EXPECT_EQ(pc.apic(reg::current_count), 1000u);
  pc.clock.advance(400);
  EXPECT_EQ(pc.apic(reg::current_count), 600u);
  EXPECT_EQ(pc.clock.next_deadline(), 1000u);
  pc.clock.advance(599);
  EXPECT_FALSE(pc.intr());
  pc.clock.advance(1);
  EXPECT_EQ(pc.take(), 0xee);
  EXPECT_EQ(pc.apic(reg::current_count), 0u);
  EXPECT_EQ(pc.apic(reg::initial_count), 1000u);
  pc.eoi();
  pc.clock.advance(5000);
  EXPECT_FALSE(pc.intr());
}

// Figure 11-10.
TEST_F(LapicTimerTest, DividesItsClock) {
  const std::pair<std::uint32_t, std::uint32_t> rows[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                                                          {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};
  for (const auto& [value, divisor] : rows) {
    pc.set_apic(reg::divide, value);
    pc.set_apic(reg::initial_count, 1000);
    pc.clock.advance(100 * divisor);
    EXPECT_EQ(pc.apic(reg::current_count), 900u) << divisor;
    pc.clock.advance(1);
    EXPECT_EQ(pc.apic(reg::current_count), divisor == 1 ? 899u : 900u);
  }
}

TEST_F(LapicTimerTest, InterruptsEveryPeriodWithoutDrift) {
  pc.set_apic(reg::lvt_timer, periodic | 0xee);
  pc.set_apic(reg::initial_count, 1000);
  for (std::uint64_t i = 1; i <= 50; ++i) {
    pc.clock.advance(*pc.clock.next_deadline() - pc.clock.now_ns());
    EXPECT_EQ(pc.clock.now_ns(), 1000 * i);
    EXPECT_EQ(pc.take(), 0xee);
    pc.eoi();
  }
  EXPECT_EQ(pc.apic(reg::current_count), 1000u);
}

TEST_F(LapicTimerTest, HasNoDeadlineThatNobodyWouldNotice) {
  pc.set_apic(reg::lvt_timer, periodic | 0xee);
  pc.set_apic(reg::initial_count, 1);
  pc.clock.advance(10'000'000'000);  // would be 10^10 expiries
  EXPECT_EQ(pc.take(), 0xee);
  EXPECT_EQ(pc.clock.next_deadline(), pc.clock.now_ns() + 1) << "the next one can be noticed again";
  pc.set_apic(reg::lvt_timer, periodic | timer_masked | 0xee);
  EXPECT_FALSE(pc.clock.next_deadline());
}

TEST_F(LapicTimerTest, LosesAnExpiryThatIsMasked) {
  pc.set_apic(reg::lvt_timer, timer_masked | 0xee);
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(1500);
  EXPECT_EQ(pc.apic(reg::current_count), 0u);
  pc.set_apic(reg::lvt_timer, 0xee);
  pc.clock.advance(5000);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, InterruptsIfItIsUnmaskedInTime) {
  pc.set_apic(reg::lvt_timer, timer_masked | 0xee);
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(500);
  pc.set_apic(reg::lvt_timer, 0xee);
  pc.clock.advance(500);
  EXPECT_EQ(pc.take(), 0xee);
}

TEST_F(LapicTimerTest, StopsAtAnInitialCountOfZero) {
  pc.set_apic(reg::lvt_timer, periodic | 0xee);
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(500);
  pc.set_apic(reg::initial_count, 0);
  EXPECT_EQ(pc.apic(reg::current_count), 0u);
  pc.clock.advance(5000);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, RestartsWithEveryInitialCount) {
  pc.set_apic(reg::lvt_timer, 0xee);
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(900);
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(999);
  EXPECT_FALSE(pc.intr());
  pc.clock.advance(1);
  EXPECT_TRUE(pc.intr());
}

TEST_F(LapicTimerTest, GoesOnWithItsCountWhenOneShotBecomesPeriodicAndBack) {
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(700);
  pc.set_apic(reg::lvt_timer, periodic | timer_masked);
  EXPECT_EQ(pc.apic(reg::current_count), 300u);
  pc.clock.advance(400);
  EXPECT_EQ(pc.apic(reg::current_count), 900u);  // wrapped
  pc.set_apic(reg::lvt_timer, timer_masked);
  EXPECT_EQ(pc.apic(reg::current_count), 900u);
  pc.clock.advance(1000);
  EXPECT_EQ(pc.apic(reg::current_count), 0u);
  pc.set_apic(reg::lvt_timer, periodic | timer_masked);
  pc.clock.advance(10);
  EXPECT_EQ(pc.apic(reg::current_count), 0u) << "it has stopped";
}

TEST_F(LapicTimerTest, GoesOnFromItsCountWithANewDivisor) {
  pc.set_apic(reg::initial_count, 1000);
  pc.clock.advance(600);
  pc.set_apic(reg::divide, 0x1);  // by 4
  EXPECT_EQ(pc.apic(reg::current_count), 400u);
  pc.clock.advance(400);
  EXPECT_EQ(pc.apic(reg::current_count), 300u);
}

TEST_F(LapicTimerTest, MakesAnErrorOfAnIllegalVector) {
  pc.set_apic(reg::lvt_timer, periodic | 0x0f);
  pc.set_apic(reg::initial_count, 10);
  pc.clock.advance(10'000'000'000);
  pc.set_apic(reg::esr, 0);
  EXPECT_EQ(pc.apic(reg::esr), 0x40u);
  EXPECT_FALSE(pc.intr());
}

// 11.5.4.1.
TEST_F(LapicTimerTest, InterruptsWhenTheTimeStampCounterReachesTheDeadline) {
  TickCounter tsc{2'000'000'000};
  tsc.set(0, 5000);
  lapic.set_tsc(tsc);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 7001));
  EXPECT_EQ(lapic.read_msr(deadline_msr), 7001u);
  pc.clock.advance(1000);
  EXPECT_FALSE(pc.intr());
  pc.clock.advance(1);
  EXPECT_EQ(pc.take(), 0xef);
  EXPECT_EQ(lapic.read_msr(deadline_msr), 0u) << "it disarms itself";
  pc.eoi();
  pc.clock.advance(100'000);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, InterruptsAtOnceForADeadlineThatHasPassed) {
  pc.clock.advance(1000);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1000));
  EXPECT_EQ(pc.take(), 0xef);
  EXPECT_EQ(lapic.read_msr(deadline_msr), 0u);
}

TEST_F(LapicTimerTest, DisarmsADeadlineWithZero) {
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1000));
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 0));
  pc.clock.advance(5000);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, ClearsADeadlineThatPassesMasked) {
  pc.set_apic(reg::lvt_timer, tsc_mode | timer_masked | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1000));
  pc.clock.advance(999);
  EXPECT_EQ(lapic.read_msr(deadline_msr), 1000u);
  pc.clock.advance(1);
  EXPECT_EQ(lapic.read_msr(deadline_msr), 0u);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, IgnoresTheDeadlineInOtherModesAndTheCountInThisOne) {
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1000));
  EXPECT_EQ(lapic.read_msr(deadline_msr), 0u);
  pc.set_apic(reg::initial_count, 500);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_EQ(pc.apic(reg::current_count), 0u) << "the change disarms";
  EXPECT_EQ(pc.apic(reg::initial_count), 0u);
  pc.set_apic(reg::initial_count, 700);
  EXPECT_EQ(pc.apic(reg::initial_count), 0u);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1000));
  pc.set_apic(reg::lvt_timer, 0xef);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_EQ(lapic.read_msr(deadline_msr), 0u) << "so does the change back";
  pc.clock.advance(5000);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTimerTest, FollowsAWriteToTheTimeStampCounter) {
  TickCounter tsc{1'000'000'000};
  lapic.set_tsc(tsc);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, 1'000'000));
  tsc.set(0, 999'000);
  lapic.set_tsc(tsc);
  EXPECT_EQ(pc.clock.next_deadline(), 1000u);
  tsc.set(0, 2'000'000);
  lapic.set_tsc(tsc);
  EXPECT_EQ(pc.take(), 0xef);
}

TEST_F(LapicTimerTest, NeverExpiresForADeadlineBeyondTheEndOfTime) {
  TickCounter tsc{1};
  lapic.set_tsc(tsc);
  pc.set_apic(reg::lvt_timer, tsc_mode | 0xef);
  EXPECT_TRUE(lapic.write_msr(deadline_msr, ~0ull));
  EXPECT_FALSE(pc.clock.next_deadline());
  EXPECT_EQ(lapic.read_msr(deadline_msr), ~0ull);
}

TEST(LapicTimerModel, HasNoDeadlineModeWhereTheProcessorHasNone) {
  TestPc pc{{.lapic = {.tsc_deadline = false}}};
  EXPECT_EQ(pc.pc.lapic(0).read_msr(deadline_msr), std::nullopt);
  EXPECT_FALSE(pc.pc.lapic(0).write_msr(deadline_msr, 1));
  pc.set_apic(reg::lvt_timer, tsc_mode | periodic | 0xef);
  EXPECT_EQ(pc.apic(reg::lvt_timer), periodic | 0xef);
}

}  // namespace
}  // namespace cbit::chipset
