// Interprocessor and device messages between four local APICs. Section numbers are those of the Intel SDM
// vol. 3, chapter 11.
#include "chipset/apic_bus.hpp"

#include <gtest/gtest.h>

#include <string>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;
using bus::CpuSignal;
using test::TestPc;

struct ApicBusTest : testing::Test {
  ApicBusTest() {
    for (unsigned cpu = 0; cpu < 4; ++cpu) pc.set_apic(reg::svr, 0x1ff, cpu);
  }
  void send(std::uint32_t low, std::uint8_t destination = 0, unsigned from = 0) {
    pc.set_apic(reg::icr_high, std::uint32_t{destination} << 24, from);
    pc.set_apic(reg::icr, low, from);
  }
  // The CPUs that have an interrupt, which they take and end.
  std::string receivers() {
    std::string cpus;
    for (unsigned cpu = 0; cpu < 4; ++cpu) {
      if (!pc.take(cpu)) continue;
      cpus += static_cast<char>('0' + cpu);
      pc.eoi(cpu);
    }
    return cpus;
  }
  std::string with(CpuSignal signal) {
    std::string cpus;
    for (unsigned cpu = 0; cpu < 4; ++cpu)
      if (pc.pc.lapic(cpu).signals().has(signal)) cpus += static_cast<char>('0' + cpu);
    return cpus;
  }

  TestPc pc{{.cpus = 4, .virtual_wire = false}};
};

// 11.6.2.1.
TEST_F(ApicBusTest, FindsAPhysicalDestination) {
  send(0x41, 2);
  EXPECT_EQ(receivers(), "2");
  send(0x41, 0);
  EXPECT_EQ(receivers(), "0");
  send(0x41, 9);
  EXPECT_EQ(receivers(), "");
  send(0x41, 0xff, 3);
  EXPECT_EQ(receivers(), "0123");
  EXPECT_EQ(pc.apic(reg::icr) & 1 << 12, 0u) << "the IPI is idle at once";
}

// 11.6.2.2.
TEST_F(ApicBusTest, FindsALogicalDestinationInTheFlatModel) {
  for (unsigned cpu = 0; cpu < 4; ++cpu) pc.set_apic(reg::ldr, 1u << (24 + cpu), cpu);
  send(1 << 11 | 0x41, 0x05);
  EXPECT_EQ(receivers(), "02");
  send(1 << 11 | 0x41, 0xf0);
  EXPECT_EQ(receivers(), "");
  pc.set_apic(reg::ldr, 0, 3);
  send(1 << 11 | 0x41, 0xff);
  EXPECT_EQ(receivers(), "0123");
}

TEST_F(ApicBusTest, FindsALogicalDestinationInTheClusterModel) {
  const std::uint32_t ids[] = {0x11, 0x12, 0x21, 0x22};
  for (unsigned cpu = 0; cpu < 4; ++cpu) {
    pc.set_apic(reg::dfr, 0x0fff'ffff, cpu);
    pc.set_apic(reg::ldr, ids[cpu] << 24, cpu);
  }
  send(1 << 11 | 0x41, 0x13);
  EXPECT_EQ(receivers(), "01");
  send(1 << 11 | 0x41, 0x22);
  EXPECT_EQ(receivers(), "3");
  send(1 << 11 | 0x41, 0x3f);
  EXPECT_EQ(receivers(), "");
  send(1 << 11 | 0x41, 0xff);
  EXPECT_EQ(receivers(), "0123");
}

// 11.6.1.
TEST_F(ApicBusTest, UsesShorthands) {
  send(1 << 18 | 0x41, 3, 1);
  EXPECT_EQ(receivers(), "1");
  send(2 << 18 | 0x41, 3, 1);
  EXPECT_EQ(receivers(), "0123");
  send(3 << 18 | 0x41, 3, 1);
  EXPECT_EQ(receivers(), "023");
  send(3 << 18 | 4 << 8, 0, 2);
  EXPECT_EQ(with(CpuSignal::nmi), "013");
}

TEST_F(ApicBusTest, DeliversEachModeAsItsSignal) {
  send(2 << 8, 1);
  EXPECT_EQ(with(CpuSignal::smi), "1");
  send(4 << 8, 2);
  EXPECT_EQ(with(CpuSignal::nmi), "2");
  send(5 << 8 | 1 << 14, 3);
  EXPECT_EQ(with(CpuSignal::init), "3");
  send(6 << 8 | 0x10, 3);
  EXPECT_EQ(with(CpuSignal::startup), "3");
  EXPECT_TRUE(pc.pc.lapic(1).take_smi());
  EXPECT_FALSE(pc.pc.lapic(1).take_smi());
  EXPECT_EQ(receivers(), "");
}

// The sequence of do_boot_cpu() and wakeup_secondary_cpu_via_init() in Linux's arch/x86/kernel/smpboot.c.
TEST_F(ApicBusTest, StartsAProcessorTheWayLinuxDoes) {
  send(1 << 15 | 1 << 14 | 5 << 8, 1);  // INIT, level-triggered, asserted
  EXPECT_TRUE(pc.pc.lapic(1).take_init());
  send(1 << 15 | 5 << 8, 1);  // de-asserted
  EXPECT_EQ(with(CpuSignal::init), "");
  send(6 << 8 | 0x9a, 1);
  EXPECT_EQ(pc.pc.lapic(1).take_startup(), 0x9a);
  send(6 << 8 | 0x9a, 1);
  EXPECT_TRUE(pc.pc.lapic(1).signals().has(CpuSignal::startup)) << "the CPU, which runs, drops it";
}

TEST_F(ApicBusTest, IgnoresReservedDeliveryModes) {
  send(3 << 8 | 0x41, 1);
  send(7 << 8 | 0x41, 1);
  EXPECT_EQ(receivers(), "");
  EXPECT_FALSE(pc.pc.lapic(1).signals().any());
}

TEST_F(ApicBusTest, TakesIpisAsEdgesWhateverTheirTriggerMode) {
  send(1 << 15 | 1 << 14 | 0x41, 1);
  EXPECT_EQ(pc.apic(reg::tmr + 0x20, 1), 0u);
  EXPECT_EQ(receivers(), "1");
}

// 11.6.2.4.
TEST_F(ApicBusTest, GivesALowestPriorityMessageToOne) {
  for (unsigned cpu = 0; cpu < 4; ++cpu) pc.set_apic(reg::ldr, 1u << (24 + cpu), cpu);
  pc.set_apic(reg::tpr, 0x30, 0);
  pc.set_apic(reg::tpr, 0x20, 1);
  pc.set_apic(reg::tpr, 0x20, 2);
  send(1 << 11 | 1 << 8 | 0x41, 0x07);
  EXPECT_EQ(receivers(), "1");
  pc.set_apic(reg::svr, 0xff, 1);
  send(1 << 11 | 1 << 8 | 0x41, 0x07);
  EXPECT_EQ(receivers(), "2") << "a disabled APIC does not take part";
}

// 11.11.
TEST_F(ApicBusTest, MakesInterruptsOfMessagesOfDevices) {
  EXPECT_TRUE(pc.pc.apic_bus().deliver({0xfee0'3000, 0x61}));
  EXPECT_EQ(receivers(), "3");
  for (unsigned cpu = 0; cpu < 4; ++cpu) pc.set_apic(reg::ldr, 1u << (24 + cpu), cpu);
  EXPECT_TRUE(pc.pc.apic_bus().deliver({0xfee0'6004, 0x61}));  // logical
  EXPECT_EQ(receivers(), "12");
  EXPECT_TRUE(pc.pc.apic_bus().deliver({0xfee0'600c, 0x61}));  // to one of them
  EXPECT_EQ(receivers(), "1");
  EXPECT_TRUE(pc.pc.apic_bus().deliver({0xfee0'2000, 0x400}));
  EXPECT_EQ(with(CpuSignal::nmi), "2");
  EXPECT_FALSE(pc.pc.apic_bus().deliver({0xfee0'9000, 0x61}));
  EXPECT_FALSE(pc.pc.apic_bus().deliver({0xfee0'3000, 0x8061})) << "a level that is not asserted";
  EXPECT_EQ(receivers(), "");
  EXPECT_TRUE(pc.pc.apic_bus().deliver({0xfee0'3000, 0xc061}));
  EXPECT_EQ(pc.apic(reg::tmr + 0x30, 3), 1u << 1);
}

TEST_F(ApicBusTest, SkipsAnApicThatIsDisabled) {
  EXPECT_TRUE(pc.pc.lapic(2).write_msr(0x1b, 0xfee0'0000));
  send(2 << 18 | 4 << 8);
  EXPECT_EQ(with(CpuSignal::nmi), "013");
}

}  // namespace
}  // namespace cbit::chipset
