// Where a PC's chipset has its devices: ports, memory, interrupts. The one home of these numbers, for the
// chipset itself, for the ACPI tables that describe it, and for whoever prints them.
//
// ISA interrupt n is input n of the PICs and of the IOAPIC, but for the timer, which is the IOAPIC's input 2
// (the PICs' cascade has no use for that one). Inputs 16 to 23 of the IOAPIC are PCI's INTx#: level-triggered
// and active low, as ACPI's _PRT assumes of a GSI that it names. Ports are those of the PC/AT; the power
// management base, the SCI and the debug ports are QEMU's.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"
#include "cbit/addr.hpp"

namespace cbit::chipset::pc_map {

inline constexpr bus::PortRange pic_master_ports{0x20, 2};
inline constexpr bus::PortRange pit_ports{0x40, 4};
inline constexpr bus::PortRange keyboard_data_port{0x60, 1};
inline constexpr bus::PortRange port_b_port{0x61, 1};
inline constexpr bus::PortRange keyboard_command_port{0x64, 1};
inline constexpr bus::PortRange rtc_ports{0x70, 2};
inline constexpr bus::PortRange post_code_port{0x80, 1};
inline constexpr bus::PortRange port_a_port{0x92, 1};
inline constexpr bus::PortRange pic_slave_ports{0xa0, 2};
inline constexpr bus::PortRange test_data_ports{0xe0, 4};
inline constexpr bus::PortRange debug_console_port{0xe9, 1};
inline constexpr bus::PortRange debug_exit_ports{0xf4, 4};
inline constexpr bus::PortRange com2_ports{0x2f8, 8};
inline constexpr bus::PortRange com1_ports{0x3f8, 8};
inline constexpr bus::PortRange elcr_ports{0x4d0, 2};
inline constexpr bus::PortRange fw_cfg_ports{0x510, 2};
inline constexpr bus::PortRange acpi_pm_ports{0x600, 16};
inline constexpr bus::PortRange pci_address_port{0xcf8, 4};  // the PCI host's: dwords
inline constexpr bus::PortRange reset_control_port{0xcf9, 1};
inline constexpr bus::PortRange pci_data_port{0xcfc, 4};  // the PCI host's
inline constexpr bus::PortRange test_irq_ports{0x2000, 24};

// PCI Express configuration space of 256 buses, and where firmware maps what PCI functions have.
inline constexpr PhysAddr ecam_base{0xe000'0000};
inline constexpr std::uint64_t ecam_bytes = 256 << 20;
inline constexpr PhysAddr pci_memory_base{0xc000'0000};
inline constexpr std::uint64_t pci_memory_bytes = 512ull << 20;
inline constexpr bus::PortRange pci_ports{0x6000, 0x1000};

struct PcPorts {
  bus::PortRange range;
  std::string_view device;
};
inline constexpr PcPorts ports[] = {
    {pic_master_ports, "8259A interrupt controller, master"},
    {pit_ports, "8254 interval timer"},
    {keyboard_data_port, "8042 keyboard controller, data"},
    {port_b_port, "system control port B"},
    {keyboard_command_port, "8042 keyboard controller, status and command"},
    {rtc_ports, "MC146818 real-time clock and CMOS RAM"},
    {post_code_port, "POST code"},
    {port_a_port, "system control port A"},
    {pic_slave_ports, "8259A interrupt controller, slave"},
    {test_data_ports, "test data (an option)"},
    {debug_console_port, "debug console (an option)"},
    {debug_exit_ports, "debug exit (an option)"},
    {com2_ports, "16550A serial port, ttyS1"},
    {com1_ports, "16550A serial port, ttyS0"},
    {elcr_ports, "edge/level control of the 8259A"},
    {fw_cfg_ports, "firmware configuration (an option)"},
    {acpi_pm_ports, "ACPI power management"},
    {pci_address_port, "PCI configuration address"},
    {reset_control_port, "reset control"},
    {pci_data_port, "PCI configuration data"},
    {test_irq_ports, "test interrupts (an option)"},
};

inline constexpr PhysAddr ioapic_base{0xfec0'0000};
// The test device's, as QEMU's pc-testdev has it.
inline constexpr PhysAddr test_memory_base{0xff00'0000};
inline constexpr std::uint64_t test_memory_bytes = 64 << 10;

inline constexpr std::uint8_t ioapic_id = 0;
// 00:14.0, the south bridge's, as Linux expects it of an AMD machine: check_ioapic_information() in
// drivers/iommu/amd/init.c.
inline constexpr RequesterId ioapic_requester = 0x00a0;

// An AMD IOMMU, if there is one: its registers, where QEMU's has them, and its device number on bus 0.
inline constexpr PhysAddr iommu_base{0xfed8'0000};
inline constexpr unsigned iommu_device = 2;
inline constexpr unsigned ioapic_gsi_base = 0;

struct PcIrq {
  unsigned irq = 0;  // the line's number: of ISA below 16, else the GSI
  unsigned gsi = 0;
  bool level = false;
  bus::ActiveLevel active = bus::ActiveLevel::high;
  std::string_view device;
};

// The vectors of the PICs' inputs 0, as firmware leaves them. IBM PC/AT Technical Reference, BIOS: INT 8 to
// Fh and 70h to 77h.
inline constexpr std::uint8_t pic_master_vectors = 0x08;
inline constexpr std::uint8_t pic_slave_vectors = 0x70;

inline constexpr unsigned irq_count = 24;
inline constexpr unsigned timer_irq = 0;
inline constexpr unsigned keyboard_irq = 1;
inline constexpr unsigned cascade_irq = 2;
inline constexpr unsigned com2_irq = 3;
inline constexpr unsigned com1_irq = 4;
inline constexpr unsigned rtc_irq = 8;
inline constexpr unsigned sci_irq = 9;
inline constexpr unsigned first_pci_irq = 16;
inline constexpr unsigned pci_irqs = 8;
// Where INTA# of a device of bus 0 leads: the devices take turns.
[[nodiscard]] constexpr unsigned pci_irq(unsigned device) { return first_pci_irq + device % pci_irqs; }

inline constexpr PcIrq irqs[] = {
    {timer_irq, 2, false, bus::ActiveLevel::high, "8254 interval timer"},
    {keyboard_irq, 1, false, bus::ActiveLevel::high, "8042 keyboard controller"},
    {com2_irq, 3, false, bus::ActiveLevel::high, "serial port, ttyS1"},
    {com1_irq, 4, false, bus::ActiveLevel::high, "serial port, ttyS0"},
    {rtc_irq, 8, false, bus::ActiveLevel::high, "real-time clock"},
    {sci_irq, 9, true, bus::ActiveLevel::high, "ACPI (SCI)"},
    {16, 16, true, bus::ActiveLevel::low, "PCI"},
    {17, 17, true, bus::ActiveLevel::low, "PCI"},
    {18, 18, true, bus::ActiveLevel::low, "PCI"},
    {19, 19, true, bus::ActiveLevel::low, "PCI"},
    {20, 20, true, bus::ActiveLevel::low, "PCI"},
    {21, 21, true, bus::ActiveLevel::low, "PCI"},
    {22, 22, true, bus::ActiveLevel::low, "PCI"},
    {23, 23, true, bus::ActiveLevel::low, "PCI"},
};

// The MADT says what differs from an ISA interrupt at the GSI of its number, edge-triggered and active high.
[[nodiscard]] constexpr bool needs_override(const PcIrq& irq) {
  return irq.irq < first_pci_irq && (irq.gsi != irq.irq || irq.level || irq.active != bus::ActiveLevel::high);
}

[[nodiscard]] constexpr unsigned gsi_of(unsigned irq) { return irq == timer_irq ? 2 : irq; }

}  // namespace cbit::chipset::pc_map
