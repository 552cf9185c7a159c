#include "chipset/pci_host.hpp"

#include <gtest/gtest.h>

#include "support/small_machine.hpp"
#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

constexpr std::uint64_t ecam = 0xe000'0000;

struct PciHostTest : testing::Test {
  PciHostTest() {
    function.add_intx();
    function.add_express();
    function.add_msi(1);
    host.bus().plug(5, function);
  }
  template <class T>
  T mmio(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> raw{};
    EXPECT_TRUE(bus.io_read(PhysAddr{at}, raw));
    return load<T>(raw);
  }
  template <class T>
  void set_mmio(std::uint64_t at, T value) {
    EXPECT_TRUE(bus.io_write(PhysAddr{at}, bytes_of(value)));
  }

  test::SmallMachine machine;
  bus::SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  test::TestPc pc;
  PciHost host{pc.pc, bus, pc.ports};
  bus::DmaPort port{bus, {.device = "toy", .requester = 5 << 3}};
  bus::PciFunction function{{.vendor = 0x1234, .device = 0x5678}, &port};
};

// arch/x86/pci/direct.c: pci_check_type1, and pci_sanity_check for a host bridge.
TEST_F(PciHostTest, LinuxFindsConfigurationMechanismOne) {
  pc.outb(1, 0xcfb);
  const std::uint32_t before = pc.inl(0xcf8);
  pc.ports.write(0xcf8, 4, 0x8000'0000);
  EXPECT_EQ(pc.inl(0xcf8), 0x8000'0000u);
  EXPECT_EQ(pc.inl(0xcfc), 0xcb00'1234u);
  pc.ports.write(0xcf8, 4, 0x8000'0008);
  EXPECT_EQ(pc.ports.read(0xcfe, 2), 0x0600u) << "a host bridge";
  pc.ports.write(0xcf8, 4, before);
  EXPECT_EQ(pc.inl(0xcf8), before);
}

TEST_F(PciHostTest, PortsReachTheFunctionThatTheAddressNames) {
  pc.ports.write(0xcf8, 4, 0x8000'283c);
  pc.ports.write(0xcfc, 1, 0x0b);
  EXPECT_EQ(pc.ports.read(0xcfc, 1), 0x0bu);
  EXPECT_EQ(pc.ports.read(0xcfd, 1), 1u) << "the interrupt pin";
  EXPECT_EQ(pc.inl(0xcfc), 0x10bu);
  EXPECT_EQ(mmio<std::uint32_t>(ecam + (5 << 15) + 0x3c), 0x10bu) << "the same by ECAM";
}

TEST_F(PciHostTest, AnAddressWithoutEnableReachesNothing) {
  pc.ports.write(0xcf8, 4, 0x0000'283c);
  pc.ports.write(0xcfc, 1, 0x0b);
  EXPECT_EQ(pc.inl(0xcfc), 0xffff'ffffu);
  EXPECT_EQ(mmio<std::uint8_t>(ecam + (5 << 15) + 0x3c), 0u);
}

TEST_F(PciHostTest, TheAddressRegisterTakesDwordsOnlyAndTheResetControlBytes) {
  pc.ports.write(0xcf8, 4, 0x8000'2800);
  pc.ports.write(0xcf8, 1, 0xff);
  EXPECT_EQ(pc.inl(0xcf8), 0x8000'2800u);
  pc.ports.write(0xcf9, 1, 0x06);
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{"reset platform"});
  EXPECT_EQ(pc.inl(0xcf8), 0x8000'2800u);
  pc.ports.write(0xcf8, 4, 0xffff'ffff);
  EXPECT_EQ(pc.inl(0xcf8), 0x80ff'fffcu) << "reserved bits are zero";
}

TEST_F(PciHostTest, EcamHasTheWholeSpace) {
  EXPECT_EQ(mmio<std::uint32_t>(ecam), 0xcb00'1234u);
  EXPECT_EQ(mmio<std::uint32_t>(ecam + (5 << 15) + 0x100), 0u);
  EXPECT_EQ(mmio<std::uint32_t>(ecam + (6 << 15)), 0xffff'ffffu);
  EXPECT_EQ(mmio<std::uint32_t>(ecam + (5 << 15) + (1 << 12)), 0xffff'ffffu) << "function 1";
  EXPECT_EQ(mmio<std::uint32_t>(ecam + (1 << 20)), 0xffff'ffffu) << "there is no bus 1";
}

TEST_F(PciHostTest, PinsLeadToTheInterruptLinesInTurn) {
  function.set_intx(true);
  EXPECT_TRUE(pc.pc.irq(21).asserted());
  EXPECT_FALSE(pc.pc.irq(21).high()) << "INTx# is active low";
  EXPECT_FALSE(pc.pc.irq(16).asserted());
}

TEST_F(PciHostTest, MessagesReachTheLocalApic) {
  pc.set_apic(spec::apic_register::svr, 0x1ff);
  const std::uint64_t space = ecam + (5 << 15);
  std::uint64_t msi = space + mmio<std::uint8_t>(space + 0x34);
  while (mmio<std::uint8_t>(msi) != 5) msi = space + mmio<std::uint8_t>(msi + 1);
  set_mmio(space + 4, std::uint16_t{4});
  set_mmio(msi + 4, 0xfee0'0000u);
  set_mmio(msi + 12, std::uint16_t{0x51});
  set_mmio(msi + 2, std::uint16_t{1});
  function.interrupt(0);
  EXPECT_EQ(pc.take(), 0x51);
}

TEST_F(PciHostTest, AResetClearsAddressAndFunctions) {
  pc.ports.write(0xcf8, 4, 0x8000'283c);
  pc.ports.write(0xcfc, 1, 0x0b);
  host.reset();
  EXPECT_EQ(pc.inl(0xcf8), 0u);
  EXPECT_EQ(mmio<std::uint8_t>(ecam + (5 << 15) + 0x3c), 0u);
}

}  // namespace
}  // namespace cbit::chipset
