#include "chipset/pc_chipset.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "bus/dma_port.hpp"
#include "bus/system_bus.hpp"
#include "chipset/pc_map.hpp"
#include "support/small_machine.hpp"
#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

TEST(PcMap, GivesEveryPortToOneDevice) {
  std::set<std::uint32_t> taken;
  for (const pc_map::PcPorts& row : pc_map::ports) {
    // The reset control lies within PCI's address, and answers other widths.
    if (row.range == pc_map::reset_control_port) continue;
    for (std::uint32_t port = 0; port < row.range.ports; ++port)
      EXPECT_TRUE(taken.insert(row.range.first + port).second) << row.device;
  }
}

// What a MADT has to say: ACPI specification 6.4, 5.2.12.5.
TEST(PcMap, OverridesTheTimerAndTheSciAndNothingElse) {
  std::string overrides;
  for (const pc_map::PcIrq& irq : pc_map::irqs)
    if (pc_map::needs_override(irq))
      overrides += std::to_string(irq.irq) + ">" + std::to_string(irq.gsi) + " ";
  EXPECT_EQ(overrides, "0>2 9>9 ");
}

TEST(PcMap, SaysWhereTheChipsetsLinesLead) {
  test::TestPc pc{{.virtual_wire = false}};
  pc.set_apic(spec::apic_register::svr, 0x1ff);
  for (const pc_map::PcIrq& irq : pc_map::irqs) {
    bus::IrqLine& line = pc.pc.irq(irq.irq);
    EXPECT_EQ(line.active_level(), irq.active) << irq.device;
    // The timer's own output is high at rest.
    if (irq.irq == pc_map::timer_irq) pc.outb(0x30, 0x43);
    bus::IrqDriver device{line, "device"};
    const std::uint64_t active_low = irq.active == bus::ActiveLevel::low ? 1u << 13 : 0;
    pc.set_entry(irq.gsi, active_low | 0x70);
    device.raise();
    EXPECT_EQ(pc.take(), 0x70) << irq.irq;
    pc.eoi();
    pc.set_entry(irq.gsi, 1 << 16);
  }
}

TEST(PcChipset, ResetsAllOfItself) {
  test::TestPc pc;
  pc.set_apic(spec::apic_register::svr, 0x1ff);
  pc.set_entry(4, 0x34);
  pc.outb(0x03, 0x3fc);
  pc.outb(0x5a, 0x80);
  pc.outb(0x00, 0x21);
  pc.pc.reset();
  EXPECT_EQ(pc.apic(spec::apic_register::svr), 0x1ffu) << "virtual wire mode, as firmware leaves it";
  EXPECT_EQ(pc.apic(spec::apic_register::lvt_lint0), 0x700u);
  EXPECT_EQ(pc.apic(spec::apic_register::lvt_lint1), 0x400u);
  EXPECT_EQ(pc.entry(4), 1u << 16);
  EXPECT_EQ(pc.inb(0x3fc), 0x00);
  EXPECT_EQ(pc.inb(0x80), 0x00);
  EXPECT_EQ(pc.inb(0x21), 0xff);
}

TEST(PcChipset, HasItsIoapicAndTheWindowOfMessagesOnTheBus) {
  test::SmallMachine machine;
  bus::SystemBus memory{*machine.memory, machine.tracer, machine.device_view};
  bus::PortSpace ports;
  Clock clock;
  test::RecordingPlatform platform;
  PcChipset pc{clock, platform, {}};
  pc.attach(memory, ports);
  const auto write = [&](std::uint64_t at, std::uint32_t value) {
    return memory.io_write(PhysAddr{at}, bytes_of(value)).has_value();
  };
  EXPECT_TRUE(write(0xfec0'0000, 1));
  std::uint32_t version = 0;
  EXPECT_TRUE(memory.io_read(PhysAddr{0xfec0'0010}, std::as_writable_bytes(std::span{&version, 1})));
  EXPECT_EQ(version, 0x0017'0020u);

  Lapic& lapic = pc.lapic(0);
  EXPECT_TRUE(write(0xfee0'0000, 0x41));
  EXPECT_EQ(lapic.acknowledge(), 0x41) << "a CPU's write beyond its own page is a message, too";
  bus::DmaPort device{memory, {.device = "nic", .requester = 8}};
  EXPECT_TRUE(device.store(DmaAddr{0xfee0'0000}, std::uint32_t{0x51}));
  EXPECT_TRUE(lapic.signals().has(bus::CpuSignal::intr));
  EXPECT_EQ(lapic.acknowledge(), 0x51);
  EXPECT_EQ(ports.read(0x21, 1), 0xffu);
}

}  // namespace
}  // namespace cbit::chipset
