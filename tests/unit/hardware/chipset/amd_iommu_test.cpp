// Section numbers are those of AMD's IOMMU specification 48882.
#include "chipset/amd_iommu.hpp"

#include <gtest/gtest.h>

#include "chipset/pci_host.hpp"
#include "support/small_machine.hpp"
#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;

constexpr std::uint64_t registers = 0xfed8'0000, iommu_config = 0xe000'0000 + (2 << 15);
constexpr std::uint64_t dev_table = 0x10'0000, int_table = 0x20'0000, events = 0x30'0000;
constexpr std::uint32_t nic = 5 << 3, ioapic = 0xa0;

struct AmdIommuFunctionTest : testing::Test {
  AmdIommuFunctionTest() {
    pc.set_apic(reg::svr, 0x1ff);
    function.add_msi(1);
    host.bus().plug(2, iommu);
    host.bus().plug(5, function);
    mmio(registers, dev_table | 1);  // two pages: 256 entries
    mmio(registers + 0x10, events | 0x8ull << 56);
  }
  void mmio(std::uint64_t at, std::uint64_t value) {
    EXPECT_TRUE(bus.io_write(PhysAddr{at}, bytes_of(value)));
  }
  [[nodiscard]] std::uint64_t mmio(std::uint64_t at) {
    std::array<std::byte, 8> raw{};
    EXPECT_TRUE(bus.io_read(PhysAddr{at}, raw));
    return load<std::uint64_t>(raw);
  }
  void config(std::uint64_t at, std::uint32_t value) {
    EXPECT_TRUE(bus.io_write(PhysAddr{at}, bytes_of(value)));
  }
  [[nodiscard]] std::uint32_t config(std::uint64_t at) {
    std::array<std::byte, 4> raw{};
    EXPECT_TRUE(bus.io_read(PhysAddr{at}, raw));
    return load<std::uint32_t>(raw);
  }
  // IV, 512 entries, IntCtl 2; the entry sends vector 51h to APIC 0.
  void remap_to_51(std::uint32_t requester, unsigned index) {
    machine.put_value(PhysAddr{dev_table + requester * 32 + 16}, 2ull << 60 | int_table | 9 << 1 | 1, no_key);
    machine.put_value(PhysAddr{int_table + index * 4}, std::uint32_t{0x0051'0001}, no_key);
  }
  [[nodiscard]] bool requested(unsigned vector) {
    return (pc.apic(reg::irr + vector / 32 * 0x10) >> vector % 32 & 1) != 0;
  }
  // MSI of the function at `at` to APIC 0 with these data.
  void enable_msi(std::uint64_t at, std::uint32_t capability, std::uint16_t data) {
    config(at + 4, 4);  // bus master
    config(at + capability + 4, 0xfee0'0000);
    config(at + capability + 12, data);
    config(at + capability, 1 << 16);
  }

  test::SmallMachine machine;
  bus::SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  test::TestPc pc;
  PciHost host{pc.pc, bus, pc.ports};
  AmdIommuFunction iommu{pc.pc, bus};
  bus::DmaPort port{bus, {.device = "toy", .requester = nic}};
  bus::PciFunction function{{.vendor = 0x1234, .device = 0x5678}, &port};
};

// 3.3: what Linux reads of it, iommu_init_pci().
TEST_F(AmdIommuFunctionTest, IsFoundByItsCapabilityBlock) {
  EXPECT_EQ(config(iommu_config) & 0xffff, 0x1022u);
  EXPECT_EQ(config(iommu_config + 8) >> 8, 0x08'06'00u) << "a system peripheral, IOMMU";
  EXPECT_EQ(config(iommu_config + 0x34) & 0xff, iommu.capability());
  const std::uint32_t block = config(iommu_config + iommu.capability());
  EXPECT_EQ(block & 0xff, 0x0fu);
  EXPECT_EQ(block >> 16 & 7, 3u) << "type";
  EXPECT_EQ(block >> 27 & 1, 1u) << "EFRSup";
  EXPECT_EQ(block >> 26 & 1, 0u) << "NpCache, with which Linux would be strict";
  EXPECT_EQ(config(iommu_config + iommu.capability() + 4), registers | 1);
}

TEST_F(AmdIommuFunctionTest, StandsBeforeMemory) {
  machine.put_value(PhysAddr{dev_table + nic * 32}, std::uint64_t{3}, no_key);  // V, TV, no rights
  config(0xe000'0000 + (5 << 15) + 4, 4);
  EXPECT_TRUE(port.load<std::uint64_t>(DmaAddr{0x5000})) << "not enabled yet";
  mmio(registers + 0x18, 1);
  EXPECT_EQ(port.load<std::uint64_t>(DmaAddr{0x5000}).error().kind, FaultKind::iommu_no_domain);
  ASSERT_EQ(machine.log.all<DeviceFault>().size(), 1u);
}

TEST_F(AmdIommuFunctionTest, RemapsAMessageOfAFunctionByItsNumber) {
  enable_msi(0xe000'0000 + (5 << 15), 0x40, 3);
  remap_to_51(nic, 3);
  mmio(registers + 0x18, 1);
  function.interrupt(0);
  EXPECT_TRUE(requested(0x51));
  EXPECT_FALSE(requested(3));
}

TEST_F(AmdIommuFunctionTest, RemapsTheIoapicsMessagesAsThoseOf00_14_0) {
  bus::IrqDriver device{pc.pc.irq(10), "device"};
  remap_to_51(ioapic, 10);
  mmio(registers + 0x18, 1);
  pc.set_entry(10, 10);  // edge; the vector is the index
  device.set(true);
  EXPECT_TRUE(requested(0x51));
}

TEST_F(AmdIommuFunctionTest, LosesAMessageWhoseEntryIsNotThereAndLogsIt) {
  enable_msi(0xe000'0000 + (5 << 15), 0x40, 4);
  remap_to_51(nic, 3);
  mmio(registers + 0x18, 1 | 1 << 2);
  function.interrupt(0);
  EXPECT_FALSE(requested(0x51));
  EXPECT_EQ(mmio(registers + 0x2018), 16u) << "an event";
}

TEST_F(AmdIommuFunctionTest, ItsOwnMessageIsNotRemapped) {
  enable_msi(iommu_config, 0x58, 0x61);
  machine.put_value(PhysAddr{dev_table + nic * 32}, std::uint64_t{3}, no_key);
  config(0xe000'0000 + (5 << 15) + 4, 4);
  mmio(registers + 0x18, 1 | 1 << 2 | 1 << 3);
  EXPECT_FALSE(port.load<std::uint64_t>(DmaAddr{0x5000}));
  EXPECT_TRUE(requested(0x61));
}

TEST_F(AmdIommuFunctionTest, AResetOfTheBusDisablesIt) {
  machine.put_value(PhysAddr{dev_table + nic * 32}, std::uint64_t{3}, no_key);
  mmio(registers + 0x18, 1);
  host.bus().reset();
  EXPECT_EQ(mmio(registers + 0x18), 0u);
  EXPECT_EQ(mmio(registers), 0u);
}

}  // namespace
}  // namespace cbit::chipset
