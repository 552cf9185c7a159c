// Section numbers are those of the Intel 82093AA datasheet.
#include "chipset/ioapic.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;
using bus::CpuSignal;
using test::TestPc;

constexpr std::uint64_t entry_masked = 1 << 16;
constexpr std::uint64_t level = 1 << 15;
constexpr std::uint64_t remote_irr = 1 << 14;
constexpr std::uint64_t active_low = 1 << 13;

// An input that no device of the chipset drives, and one of PCI's.
constexpr unsigned pin = 10;
constexpr unsigned pci_pin = 16;

struct IoapicTest : testing::Test {
  IoapicTest() { pc.set_apic(reg::svr, 0x1ff); }
  TestPc pc{{.virtual_wire = false}};
  bus::IrqDriver device{pc.pc.irq(pin), "device"};
};

// 3.2.
TEST_F(IoapicTest, HasTheRegistersOfItsVersion) {
  EXPECT_EQ(pc.ioapic(0x00), 0u);
  EXPECT_EQ(pc.ioapic(0x01), 0x0017'0020u);
  pc.set_ioapic(0x00, 0xffff'ffff);
  EXPECT_EQ(pc.ioapic(0x00), 0x0f00'0000u);
  EXPECT_EQ(pc.ioapic(0x02), 0x0f00'0000u);
  pc.set_ioapic(0x01, 0);
  EXPECT_EQ(pc.ioapic(0x01), 0x0017'0020u);
  for (unsigned p = 0; p < 24; ++p) EXPECT_EQ(pc.entry(p), entry_masked);
  EXPECT_EQ(pc.ioapic(0x40), 0u);
  EXPECT_EQ(pc.ioapic(0xff), 0u);
  pc.set_ioapic(0x40, 0xffff'ffff);
}

TEST_F(IoapicTest, KeepsOnlyTheBitsThatAnEntryHas) {
  pc.set_entry(pin, ~0ull);
  EXPECT_EQ(pc.entry(pin), 0xff00'0000'0001'afffull);
}

TEST_F(IoapicTest, ReadsAndWritesNothingBesideItsRegisters) {
  pc.set_ioapic_word(0x20, 1);
  std::uint32_t value = 5;
  EXPECT_TRUE(pc.pc.ioapic().read(0x20, std::as_writable_bytes(std::span{&value, 1})));
  EXPECT_EQ(value, 0u);
  EXPECT_TRUE(pc.pc.ioapic().write(0, bytes_of(std::uint8_t{1})));
  EXPECT_TRUE(pc.pc.ioapic().read(0x10, std::as_writable_bytes(std::span{&value, 1})));
  EXPECT_EQ(value, 0x0017'0020u) << "a byte selects, too";
}

TEST_F(IoapicTest, MakesOneInterruptOfAnEdge) {
  pc.set_entry(pin, 0x77);
  device.raise();
  EXPECT_EQ(pc.take(), 0x77);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
  device.lower();
  EXPECT_FALSE(pc.intr());
  device.raise();
  EXPECT_EQ(pc.take(), 0x77);
  EXPECT_EQ(pc.entry(pin) & remote_irr, 0u);
}

TEST_F(IoapicTest, LosesAnEdgeThatIsMasked) {
  pc.set_entry(pin, entry_masked | 0x77);
  device.raise();
  pc.set_entry(pin, 0x77);
  EXPECT_FALSE(pc.intr());
  device.lower();
  device.raise();
  EXPECT_TRUE(pc.intr());
}

TEST_F(IoapicTest, MakesOneInterruptOfALevelAndAnotherAfterItsEoi) {
  pc.set_entry(pin, level | 0x77);
  device.raise();
  EXPECT_EQ(pc.entry(pin) & remote_irr, remote_irr);
  EXPECT_EQ(pc.apic(reg::tmr + 0x30), 1u << (0x77 - 0x60));
  EXPECT_EQ(pc.take(), 0x77);
  device.lower();
  device.raise();
  EXPECT_FALSE(pc.intr());
  pc.eoi();
  EXPECT_EQ(pc.take(), 0x77);
  device.lower();
  pc.eoi();
  EXPECT_EQ(pc.entry(pin) & remote_irr, 0u);
  EXPECT_FALSE(pc.intr());
}

TEST_F(IoapicTest, OffersALevelWhenItIsUnmasked) {
  pc.set_entry(pin, level | entry_masked | 0x77);
  device.raise();
  EXPECT_FALSE(pc.intr());
  pc.set_entry(pin, level | 0x77);
  EXPECT_EQ(pc.take(), 0x77);
}

TEST_F(IoapicTest, HoldsALevelBackWhenItIsMaskedBeforeTheEoi) {
  pc.set_entry(pin, level | 0x77);
  device.raise();
  EXPECT_EQ(pc.take(), 0x77);
  pc.set_entry(pin, level | entry_masked | 0x77);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
  pc.set_entry(pin, level | 0x77);
  EXPECT_EQ(pc.take(), 0x77);
}

TEST_F(IoapicTest, HonoursThePolarity) {
  pc.set_entry(pci_pin, level | 0x61);
  EXPECT_EQ(pc.take(), 0x61) << "a wire that is high at rest, and the wrong polarity";
  pc.set_entry(pci_pin, level | active_low | 0x61);
  pc.eoi();
  EXPECT_FALSE(pc.intr());
  bus::IrqDriver pci{pc.pc.irq(pci_pin), "pci"};
  pci.raise();
  EXPECT_EQ(pc.take(), 0x61);
  pci.lower();
  pc.eoi();
  EXPECT_FALSE(pc.intr());
}

TEST_F(IoapicTest, EndsAnInterruptByItsEoiRegister) {
  pc.set_entry(pin, level | 0x77);
  pc.set_apic(reg::svr, 0x11ff);  // no broadcasts
  device.raise();
  EXPECT_EQ(pc.take(), 0x77);
  pc.eoi();
  EXPECT_EQ(pc.entry(pin) & remote_irr, remote_irr);
  EXPECT_FALSE(pc.intr());
  pc.set_ioapic_word(0x40, 0x78);
  EXPECT_EQ(pc.entry(pin) & remote_irr, remote_irr) << "another vector";
  device.lower();
  pc.set_ioapic_word(0x40, 0x77);
  EXPECT_EQ(pc.entry(pin) & remote_irr, 0u);
}

// __eoi_ioapic_pin() of Linux's arch/x86/kernel/apic/io_apic.c, for versions without that register.
TEST_F(IoapicTest, EndsAnInterruptByASwitchToEdgeAndBack) {
  pc.set_entry(pin, level | 0x77);
  device.raise();
  EXPECT_EQ(pc.take(), 0x77);
  pc.set_entry(pin, entry_masked | 0x77);
  pc.set_entry(pin, level | entry_masked | 0x77);
  EXPECT_EQ(pc.entry(pin) & remote_irr, 0u);
}

TEST_F(IoapicTest, KeepsRemoteIrrWhenTheEntryIsWritten) {
  pc.set_entry(pin, level | 0x77);
  device.raise();
  pc.set_entry(pin, level | 0x79);
  EXPECT_EQ(pc.entry(pin), level | remote_irr | 0x79);
}

TEST_F(IoapicTest, OffersALevelAgainThatNobodyAccepted) {
  pc.set_apic(reg::svr, 0xff);  // disabled by software
  pc.set_entry(pin, level | 0x77);
  device.raise();
  EXPECT_EQ(pc.entry(pin) & remote_irr, 0u);
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(pin, level | 0x77);
  EXPECT_EQ(pc.take(), 0x77);
}

TEST_F(IoapicTest, SendsWhatTheEntrySays) {
  TestPc two{{.cpus = 2, .virtual_wire = false}};
  for (unsigned cpu = 0; cpu < 2; ++cpu) {
    two.set_apic(reg::svr, 0x1ff, cpu);
    two.set_apic(reg::ldr, 1u << (24 + cpu), cpu);
  }
  bus::IrqDriver irq{two.pc.irq(pin), "device"};
  two.set_entry(pin, 1ull << 56 | 0x41);
  irq.pulse();
  EXPECT_FALSE(two.intr(0));
  EXPECT_EQ(two.take(1), 0x41);
  two.eoi(1);
  two.set_entry(pin, 3ull << 56 | 1 << 11 | 0x41);  // logical, to both
  irq.pulse();
  EXPECT_EQ(two.take(0), 0x41);
  EXPECT_EQ(two.take(1), 0x41);
  two.set_entry(pin, 1ull << 56 | 4 << 8 | level);  // NMI, an edge whatever else is said
  irq.pulse();
  EXPECT_TRUE(two.pc.lapic(1).take_nmi());
  EXPECT_EQ(two.entry(pin) & remote_irr, 0u);
  two.set_entry(pin, 3ull << 56 | 1 << 11 | 1 << 8 | 0x51);  // lowest priority
  two.set_apic(reg::tpr, 0x20, 0);
  two.eoi(1);
  irq.pulse();
  EXPECT_FALSE(two.intr(0));
  EXPECT_EQ(two.take(1), 0x51);
}

TEST_F(IoapicTest, TakesAnExternalInterruptsVectorFromThePic) {
  pc.set_entry(pin, 7 << 8);
  device.raise();
  EXPECT_TRUE(pc.intr());
  EXPECT_EQ(pc.pc.lapic(0).acknowledge(), 0x0f) << "spurious: the PIC has nothing";
  EXPECT_FALSE(pc.intr());
}

}  // namespace
}  // namespace cbit::chipset
