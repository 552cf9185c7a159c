// Section numbers are those of the ACPI specification 6.4.
#include "chipset/acpi_pm.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

constexpr std::uint16_t status = 0x600;
constexpr std::uint16_t enable = 0x602;
constexpr std::uint16_t control = 0x604;
constexpr std::uint16_t timer = 0x608;

struct AcpiPmTest : testing::Test {
  AcpiPmTest() { pc.outb(0x30, 0x43); }  // the PIT waits for a count
  std::uint16_t inw(std::uint16_t port) { return static_cast<std::uint16_t>(pc.ports.read(port, 2)); }
  static PcConfig config() {
    PcConfig config;
    config.pm_timer_bits = 24;
    return config;
  }
  test::TestPc pc{config()};
  bus::IrqLine& sci = pc.pc.irq(9);
};

// 4.8.3.3.
TEST_F(AcpiPmTest, CountsAt3579545Hz) {
  EXPECT_EQ(pc.inl(timer), 0u);
  pc.clock.advance(1'000'000'000);
  EXPECT_EQ(pc.inl(timer), 3'579'545u);
  EXPECT_EQ(inw(timer + 1), 3'579'545u >> 8);
  EXPECT_EQ(pc.inb(timer + 2), 3'579'545u >> 16);
  pc.clock.advance(9'000'000'000);
  EXPECT_EQ(pc.inl(timer), 35'795'450u & 0xff'ffff) << "24 bits";
  test::TestPc wide;
  wide.clock.advance(10'000'000'000);
  EXPECT_EQ(wide.inl(timer), 35'795'450u);
}

// 4.8.3.1.1: TMR_STS with each change of the highest bit.
TEST_F(AcpiPmTest, InterruptsWhenTheTimersHighestBitChanges) {
  const std::uint64_t half = ns_until(1 << 23, 3'579'545);
  pc.outw(1, enable);
  EXPECT_EQ(pc.clock.next_deadline(), half);
  pc.clock.advance(half - 1);
  EXPECT_FALSE(sci.asserted());
  pc.clock.advance(1);
  EXPECT_TRUE(sci.asserted());
  EXPECT_EQ(inw(status), 1);
  EXPECT_FALSE(pc.clock.next_deadline());
  pc.outw(1, status);
  EXPECT_FALSE(sci.asserted());
  EXPECT_EQ(inw(status), 0);
  EXPECT_EQ(pc.clock.next_deadline(), ns_until(1 << 24, 3'579'545));
}

TEST_F(AcpiPmTest, SetsTheTimersStatusWithoutItsInterrupt) {
  pc.clock.advance(10'000'000'000);
  EXPECT_FALSE(pc.clock.next_deadline());
  EXPECT_EQ(inw(status), 1);
  EXPECT_FALSE(sci.asserted());
  pc.outw(1, enable);
  EXPECT_TRUE(sci.asserted());
}

TEST_F(AcpiPmTest, TellsOfThePowerButton) {
  pc.outw(1 << 8, enable);
  pc.pc.acpi_pm().press_power_button();
  EXPECT_TRUE(sci.asserted());
  EXPECT_EQ(inw(status), 1 << 8);
  pc.outw(static_cast<std::uint16_t>(~(1 << 8)), status);
  EXPECT_EQ(inw(status), 1 << 8) << "only a one clears";
  pc.outb(1, status + 1);
  EXPECT_FALSE(sci.asserted());
}

TEST_F(AcpiPmTest, KeepsOnlyTheBitsThatExist) {
  pc.outw(0xffff, enable);
  EXPECT_EQ(inw(enable), 0x4721);
  pc.outw(static_cast<std::uint16_t>(~0x2000), control);
  EXPECT_EQ(inw(control), 0x1c03) << "SCI_EN is always set, and what is write-only reads as 0";
  pc.outw(0, control);
  EXPECT_EQ(inw(control), 0x0001);
  EXPECT_EQ(pc.inl(status), 0x4721'0000u);
  EXPECT_EQ(pc.inl(0x60c), 0u);
}

// 4.8.3.2.1.
TEST_F(AcpiPmTest, TurnsTheMachineOffForS5) {
  pc.outw(0x3c00, control);  // a sleep type that means nothing
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{});
  pc.outw(0x0000, control);
  pc.outb(0x00, control + 1);
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{});
  pc.outw(0x2000, control);
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{"power off"});
  pc.outb(0x20, control + 1);
  EXPECT_EQ(pc.platform.calls.size(), 2u) << "by a byte, too";
}

TEST_F(AcpiPmTest, InterruptsThroughALevelOfTheIoapic) {
  pc.set_apic(spec::apic_register::svr, 0x1ff);
  pc.set_entry(9, 1 << 15 | 0x59);
  pc.outw(1 << 8, enable);
  pc.pc.acpi_pm().press_power_button();
  EXPECT_EQ(pc.take(), 0x59);
  pc.outw(1 << 8, status);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
}

}  // namespace
}  // namespace cbit::chipset
