// Section numbers are those of the Intel SDM vol. 3, chapter 11.
#include "chipset/lapic.hpp"

#include <gtest/gtest.h>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;
using bus::CpuSignal;
using test::TestPc;

constexpr std::uint32_t lvt_masked = 1 << 16;
constexpr std::uint32_t self = 1 << 18;  // ICR: destination shorthand

struct LapicTest : testing::Test {
  LapicTest() { pc.set_apic(reg::svr, 0x1ff); }
  void self_ipi(std::uint8_t vector) { pc.set_apic(reg::icr, self | vector); }
  // ESR shows what has happened when it is written.
  std::uint32_t errors() {
    pc.set_apic(reg::esr, 0);
    return pc.apic(reg::esr);
  }
  bool irr(unsigned vector) { return (pc.apic(reg::irr + vector / 32 * 0x10) >> vector % 32 & 1) != 0; }
  bool isr(unsigned vector) { return (pc.apic(reg::isr + vector / 32 * 0x10) >> vector % 32 & 1) != 0; }
  bool tmr(unsigned vector) { return (pc.apic(reg::tmr + vector / 32 * 0x10) >> vector % 32 & 1) != 0; }

  TestPc pc{{.virtual_wire = false}};
  Lapic& lapic = pc.pc.lapic(0);
};

// 11.4.7.1.
TEST(LapicReset, LeavesTheStateOfPowerUp) {
  TestPc pc{{.virtual_wire = false}};
  EXPECT_EQ(pc.pc.lapic(0).read_msr(0x1b), 0xfee0'0900u);  // enabled, bootstrap processor
  EXPECT_EQ(pc.apic(reg::version), 0x0105'0014u);
  EXPECT_EQ(pc.apic(reg::svr), 0xffu);
  EXPECT_EQ(pc.apic(reg::dfr), 0xffff'ffffu);
  for (const auto lvt :
       {reg::lvt_timer, reg::lvt_thermal, reg::lvt_perf, reg::lvt_lint0, reg::lvt_lint1, reg::lvt_error})
    EXPECT_EQ(pc.apic(lvt), lvt_masked);
  for (const auto zero : {reg::id, reg::tpr, reg::ppr, reg::ldr, reg::esr, reg::icr, reg::icr_high,
                          reg::initial_count, reg::current_count, reg::divide, reg::irr, reg::isr})
    EXPECT_EQ(pc.apic(zero), 0u);
  EXPECT_FALSE(pc.pc.lapic(0).signals().any());
}

TEST_F(LapicTest, MovesAVectorFromRequestToServiceAndEndsIt) {
  self_ipi(0x41);
  EXPECT_TRUE(irr(0x41));
  EXPECT_TRUE(pc.intr());
  EXPECT_EQ(pc.take(), 0x41);
  EXPECT_FALSE(irr(0x41));
  EXPECT_TRUE(isr(0x41));
  EXPECT_FALSE(pc.intr());
  pc.eoi();
  EXPECT_FALSE(isr(0x41));
}

TEST_F(LapicTest, RemembersOneRequestOfAVectorThatIsInService) {
  self_ipi(0x41);
  EXPECT_EQ(pc.take(), 0x41);
  self_ipi(0x41);
  self_ipi(0x41);
  EXPECT_FALSE(pc.intr());
  pc.eoi();
  EXPECT_EQ(pc.take(), 0x41);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
}

// 11.8.3.1: the class is what counts.
TEST_F(LapicTest, InterruptsAHandlerOnlyForAHigherClass) {
  self_ipi(0x51);
  EXPECT_EQ(pc.take(), 0x51);
  EXPECT_EQ(pc.apic(reg::ppr), 0x50u);
  self_ipi(0x5f);
  EXPECT_FALSE(pc.intr());
  self_ipi(0x60);
  EXPECT_EQ(pc.take(), 0x60);
  EXPECT_EQ(pc.apic(reg::ppr), 0x60u);
  pc.eoi();
  EXPECT_EQ(pc.apic(reg::ppr), 0x50u);
  EXPECT_FALSE(pc.intr());
  pc.eoi();
  EXPECT_EQ(pc.take(), 0x5f);
}

// 11.6.2.4.
TEST_F(LapicTest, ArbitratesWithTheHighestOfItsPriorities) {
  pc.set_apic(reg::tpr, 0x45);
  EXPECT_EQ(pc.apic(reg::apr), 0x45u);
  self_ipi(0x47);
  EXPECT_EQ(pc.apic(reg::apr), 0x45u);
  self_ipi(0x61);
  EXPECT_EQ(pc.apic(reg::apr), 0x60u);
  pc.take();
  EXPECT_EQ(pc.apic(reg::apr), 0x60u);
}

TEST_F(LapicTest, HoldsBackTheClassesOfTheTaskPriority) {
  pc.set_apic(reg::tpr, 0x45);
  EXPECT_EQ(lapic.cr8(), 4);
  EXPECT_EQ(pc.apic(reg::ppr), 0x45u);
  self_ipi(0x4f);
  EXPECT_FALSE(pc.intr());
  self_ipi(0x50);
  EXPECT_EQ(pc.take(), 0x50);
  EXPECT_EQ(pc.apic(reg::ppr), 0x50u);
  pc.eoi();
  lapic.set_cr8(3);
  EXPECT_EQ(pc.apic(reg::tpr), 0x30u);
  EXPECT_EQ(pc.take(), 0x4f);
}

TEST_F(LapicTest, GivesTheSpuriousVectorIfNothingIsLeftToAcknowledge) {
  pc.set_apic(reg::svr, 0x1ef);
  self_ipi(0x41);
  pc.set_apic(reg::tpr, 0xf0);
  EXPECT_FALSE(pc.intr());
  EXPECT_EQ(lapic.acknowledge(), 0xef);
  EXPECT_FALSE(isr(0xef));
  EXPECT_TRUE(irr(0x41));
}

TEST_F(LapicTest, IgnoresAnEoiWithNothingInService) {
  pc.eoi();
  EXPECT_FALSE(pc.intr());
  EXPECT_EQ(errors(), 0u);
}

// 11.4.7.2.
TEST_F(LapicTest, KeepsWhatIsPendingWhenSoftwareDisablesItAndTakesNoMore) {
  pc.set_apic(reg::lvt_error, 0xfe);
  self_ipi(0x41);
  pc.set_apic(reg::svr, 0xff);
  EXPECT_EQ(pc.apic(reg::lvt_error), 0xfe | lvt_masked);
  self_ipi(0x42);
  EXPECT_FALSE(irr(0x42));
  EXPECT_EQ(pc.take(), 0x41);
  pc.set_apic(reg::lvt_error, 0xfe);
  EXPECT_EQ(pc.apic(reg::lvt_error), 0xfe | lvt_masked) << "cannot be unmasked";
  // It still answers INIT, NMI, SMI and start-up messages.
  pc.set_apic(reg::icr, self | 4 << 8);
  EXPECT_TRUE(lapic.signals().has(CpuSignal::nmi));
}

TEST_F(LapicTest, LogsAnIllegalVectorThatItSends) {
  self_ipi(0x0f);
  EXPECT_EQ(errors(), 0x60u);  // sent, and received
  EXPECT_FALSE(pc.intr());
  pc.set_apic(reg::icr_high, 0x0500'0000);
  pc.set_apic(reg::icr, 0x0f);
  EXPECT_EQ(errors(), 0x20u);
  EXPECT_EQ(errors(), 0u);
  self_ipi(0x10);  // legal, though of the class of exceptions
  EXPECT_EQ(errors(), 0u);
  EXPECT_EQ(pc.take(), 0x10);
}

TEST_F(LapicTest, LogsAnIllegalVectorThatItReceives) {
  pc.pc.apic_bus().deliver({0xfee0'0000, 0x0f});
  EXPECT_EQ(errors(), 0x40u);
  EXPECT_FALSE(irr(0x0f));
}

TEST_F(LapicTest, LogsAccessesToReservedRegisters) {
  for (const std::uint32_t reserved : {0x000u, 0x010u, 0x040u, 0x2f0u, 0x3a0u, 0x3f0u, 0x400u, 0xff0u}) {
    EXPECT_EQ(pc.apic(reserved), 0u);
    EXPECT_EQ(errors(), 0x80u);
    pc.set_apic(reserved, 1);
    EXPECT_EQ(errors(), 0x80u);
  }
  pc.set_apic(reg::version, 0);  // read-only, not reserved
  EXPECT_EQ(pc.apic(reg::eoi), 0u);
  EXPECT_EQ(errors(), 0u);
  EXPECT_EQ(pc.apic(reg::version), 0x0105'0014u);
}

TEST_F(LapicTest, InterruptsForTheFirstErrorOnlyUntilEsrIsWritten) {
  pc.set_apic(reg::lvt_error, 0xfe);
  self_ipi(1);
  EXPECT_EQ(pc.take(), 0xfe);
  pc.eoi();
  pc.apic(0x3a0);
  EXPECT_FALSE(pc.intr());
  EXPECT_EQ(pc.apic(reg::esr), 0u) << "shows nothing until it is written";
  EXPECT_EQ(errors(), 0xe0u);
  pc.apic(0x3a0);
  EXPECT_EQ(pc.take(), 0xfe);
}

TEST_F(LapicTest, SurvivesAnErrorInterruptOfAnIllegalVector) {
  pc.set_apic(reg::lvt_error, 3);
  pc.apic(0x3a0);
  EXPECT_EQ(errors(), 0xc0u);
}

// 11.4.1.
TEST_F(LapicTest, WritesOnlyWholeAlignedRegistersOfThePage) {
  auto& page = lapic.registers();
  EXPECT_TRUE(page.write(reg::tpr, bytes_of(std::uint8_t{0x10})));
  EXPECT_TRUE(page.write(reg::tpr, bytes_of(std::uint64_t{0x10})));
  EXPECT_TRUE(page.write(reg::tpr + 4, bytes_of(std::uint32_t{0x10})));
  EXPECT_EQ(pc.apic(reg::tpr), 0u);
  std::uint8_t byte = 0;
  EXPECT_TRUE(page.read(reg::version + 2, std::as_writable_bytes(std::span{&byte, 1})));
  EXPECT_EQ(byte, 5);
  std::uint64_t wide = ~0ull;
  EXPECT_TRUE(page.read(reg::version, std::as_writable_bytes(std::span{&wide, 1})));
  EXPECT_EQ(wide, 0x0105'0014u);
  EXPECT_TRUE(page.read(reg::version + 4, std::as_writable_bytes(std::span{&wide, 1})));
  EXPECT_EQ(wide, 0u);
}

TEST_F(LapicTest, KeepsOnlyTheBitsThatARegisterHas) {
  const auto all = 0xffff'ffff;
  pc.set_apic(reg::tpr, all);
  EXPECT_EQ(pc.apic(reg::tpr), 0xffu);
  pc.set_apic(reg::ldr, all);
  EXPECT_EQ(pc.apic(reg::ldr), 0xff00'0000u);
  pc.set_apic(reg::dfr, 0);
  EXPECT_EQ(pc.apic(reg::dfr), 0x0fff'ffffu);
  pc.set_apic(reg::divide, all);
  EXPECT_EQ(pc.apic(reg::divide), 0xbu);
  pc.set_apic(reg::icr_high, all);
  EXPECT_EQ(pc.apic(reg::icr_high), 0xff00'0000u);
  pc.set_apic(reg::lvt_timer, all);
  EXPECT_EQ(pc.apic(reg::lvt_timer), 0x0007'00ffu);
  pc.set_apic(reg::lvt_thermal, all);
  EXPECT_EQ(pc.apic(reg::lvt_thermal), 0x0001'07ffu);
  pc.set_apic(reg::lvt_lint0, all);
  EXPECT_EQ(pc.apic(reg::lvt_lint0), 0x0001'a7ffu);
  pc.set_apic(reg::lvt_error, all);
  EXPECT_EQ(pc.apic(reg::lvt_error), 0x0001'00ffu);
  pc.set_apic(reg::svr, all);
  EXPECT_EQ(pc.apic(reg::svr), 0x13ffu);
}

// 11.5.1, 11.8.4, 11.8.5: LINT0 as a level-triggered input.
TEST_F(LapicTest, OffersALevelOfLint0AgainAfterItsEoi) {
  pc.set_apic(reg::lvt_lint0, 1 << 15 | 0x61);
  lapic.set_input(Lapic::lint0, true);
  EXPECT_TRUE(tmr(0x61));
  EXPECT_NE(pc.apic(reg::lvt_lint0) & 1 << 14, 0u);
  EXPECT_EQ(pc.take(), 0x61);
  pc.eoi();
  EXPECT_EQ(pc.take(), 0x61) << "the pin is still active";
  lapic.set_input(Lapic::lint0, false);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
  EXPECT_EQ(pc.apic(reg::lvt_lint0) & 1 << 14, 0u);
}

TEST_F(LapicTest, TakesAnEdgeOfLint0OnceAndHonoursItsPolarity) {
  pc.set_apic(reg::lvt_lint0, 1 << 13 | 0x61);
  lapic.set_input(Lapic::lint0, true);
  EXPECT_FALSE(pc.intr());
  lapic.set_input(Lapic::lint0, false);
  EXPECT_EQ(pc.take(), 0x61);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTest, MakesAnNmiOfAnEdgeAtLint1) {
  pc.set_apic(reg::lvt_lint1, 0x400);
  lapic.set_input(Lapic::lint1, true);
  EXPECT_TRUE(lapic.take_nmi());
  EXPECT_FALSE(lapic.take_nmi());
  pc.set_apic(reg::lvt_lint1, 0x400 | lvt_masked);
  lapic.set_input(Lapic::lint1, false);
  lapic.set_input(Lapic::lint1, true);
  EXPECT_FALSE(lapic.take_nmi());
}

// 11.4.3: without the APIC the pins are INTR and NMI.
TEST_F(LapicTest, ConnectsThePinsToTheCpuWhileItIsDisabled) {
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfee0'0100));
  EXPECT_FALSE(lapic.enabled());
  lapic.set_input(Lapic::lint1, true);
  EXPECT_TRUE(lapic.take_nmi());
  lapic.set_input(Lapic::lint0, true);
  EXPECT_TRUE(pc.intr());
  lapic.set_input(Lapic::lint0, false);
  EXPECT_FALSE(pc.intr());
}

TEST_F(LapicTest, KeepsCr8WhileItIsDisabledAndLosesItsRegisters) {
  pc.set_apic(reg::id, 0x0500'0000);
  self_ipi(0x41);
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfee0'0100));
  EXPECT_FALSE(pc.intr());
  EXPECT_EQ(pc.apic(reg::version), 0xffff'ffffu) << "nobody answers";
  pc.set_apic(reg::tpr, 0xffff'ffff);
  EXPECT_EQ(lapic.cr8(), 0);
  lapic.set_cr8(0xf);
  EXPECT_EQ(lapic.cr8(), 0xf);
  lapic.set_cr8(0);
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfee0'0900));
  EXPECT_EQ(pc.apic(reg::svr), 0xffu);
  EXPECT_EQ(pc.apic(reg::id), 0u);
  EXPECT_FALSE(irr(0x41));
}

TEST_F(LapicTest, HasItsPageWhereTheBaseSays) {
  EXPECT_EQ(lapic.page(), PhysAddr{0xfee0'0000});
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfed4'0900));
  EXPECT_EQ(lapic.page(), PhysAddr{0xfed4'0000});
  EXPECT_EQ(lapic.read_msr(0x1b), 0xfed4'0900u);
}

TEST_F(LapicTest, RefusesReservedBitsOfTheBase) {
  for (const std::uint64_t bit : {0, 1, 7, 9, 48, 52, 63})
    EXPECT_FALSE(lapic.write_msr(0x1b, 0xfee0'0900 | std::uint64_t{1} << bit)) << bit;
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfee0'0900 | std::uint64_t{1} << 47));
  EXPECT_TRUE(lapic.write_msr(0x1b, 0xfee0'0800)) << "the bootstrap flag is software's";
}

TEST_F(LapicTest, ResetsItselfWhenTheCpuTakesInit) {
  pc.set_apic(reg::id, 0x0700'0000);
  pc.set_apic(reg::tpr, 0x20);
  self_ipi(0x41);
  pc.set_apic(reg::icr, self | 4 << 8);
  pc.set_apic(reg::icr, self | 5 << 8);
  EXPECT_TRUE(lapic.signals().has(CpuSignal::init));
  EXPECT_TRUE(irr(0x41)) << "until it is taken";
  EXPECT_TRUE(lapic.take_init());
  EXPECT_FALSE(lapic.signals().any());
  EXPECT_EQ(pc.apic(reg::id), 0x0700'0000u) << "stays";
  EXPECT_EQ(pc.apic(reg::tpr), 0u);
  EXPECT_EQ(pc.apic(reg::svr), 0xffu);
  EXPECT_EQ(lapic.read_msr(0x1b), 0xfee0'0900u);
  EXPECT_FALSE(lapic.take_init());
}

TEST_F(LapicTest, HandsOverAStartUpVectorAndForgetsItWithTheNextInit) {
  pc.set_apic(reg::icr, self | 6 << 8 | 0x9a);
  EXPECT_TRUE(lapic.signals().has(CpuSignal::startup));
  EXPECT_EQ(lapic.take_startup(), 0x9a);
  EXPECT_EQ(lapic.take_startup(), std::nullopt);
  pc.set_apic(reg::icr, self | 6 << 8 | 0x9b);
  pc.set_apic(reg::icr, self | 5 << 8);
  EXPECT_FALSE(lapic.signals().has(CpuSignal::startup));
  EXPECT_EQ(lapic.take_startup(), std::nullopt);
}

TEST_F(LapicTest, TellsItsCpuThatASignalRose) {
  struct Listener final : bus::InterruptListener {
    void signal_raised() override { ++calls; }
    int calls = 0;
  } listener;
  lapic.set_listener(&listener);
  self_ipi(0x41);
  EXPECT_EQ(listener.calls, 1);
  self_ipi(0x42);
  EXPECT_EQ(listener.calls, 1) << "it is up already";
  pc.take();
  pc.eoi();
  EXPECT_EQ(listener.calls, 2) << "the second vector";
  pc.set_apic(reg::icr, self | 4 << 8);
  EXPECT_EQ(listener.calls, 3);
  lapic.set_listener(nullptr);
}

}  // namespace
}  // namespace cbit::chipset
