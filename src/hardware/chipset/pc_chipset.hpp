// All that makes a PC around its processors, wired as chipset/pc_map.hpp says: local APICs and their bus,
// IOAPIC, PICs, timers, clock, serial ports, power, debug ports. PCI comes from elsewhere; its interrupt
// lines are here.
//
// Sources: those of the devices. Threading: one thread, that of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/message_interrupt.hpp"
#include "bus/port_io.hpp"
#include "bus/system_bus.hpp"
#include "chipset/acpi_pm.hpp"
#include "chipset/apic_bus.hpp"
#include "chipset/debug_ports.hpp"
#include "chipset/fw_cfg.hpp"
#include "chipset/ioapic.hpp"
#include "chipset/keyboard_controller.hpp"
#include "chipset/lapic.hpp"
#include "chipset/pc_map.hpp"
#include "chipset/pic.hpp"
#include "chipset/pit.hpp"
#include "chipset/platform_control.hpp"
#include "chipset/port_b.hpp"
#include "chipset/reset_ports.hpp"
#include "chipset/rtc.hpp"
#include "chipset/test_ports.hpp"
#include "chipset/uart.hpp"

namespace cbit::chipset {

struct PcConfig {
  unsigned cpus = 1;  // their APIC IDs are 0, 1, 2 ...; the first is the bootstrap processor
  LapicConfig lapic;  // `id` and `bootstrap` are set by the chipset
  RtcConfig rtc;
  unsigned pm_timer_bits = 32;
  bool virtual_wire = true;   // local APIC of the bootstrap processor as firmware leaves it
  bool input_waits = true;    // of the serial ports, see chipset/uart.hpp
  bool debug_console = true;  // port E9h
  bool debug_exit = false;    // port F4h
  bool test_ports = false;    // of chipset/test_ports.hpp and chipset/fw_cfg.hpp, and the test memory
};

class PcChipset {
 public:
  PcChipset(Clock& clock, PlatformControl& platform, const PcConfig& config);

  // Adds the memory regions and ports; the spaces do not outlive the chipset.
  void attach(bus::SystemBus& memory, bus::PortSpace& ports);
  void attach(bus::PortSpace& ports);

  // A platform reset.
  void reset();
  // After the clock, and before the CPUs'. Peers of the serial ports are the host's.
  void transfer(StateStream& s);
  // What has been transmitted shall be seen: before the machine ends.
  void flush();

  [[nodiscard]] std::size_t cpu_count() const { return lapics_.size(); }
  [[nodiscard]] Lapic& lapic(std::size_t cpu) { return lapics_[cpu]; }
  [[nodiscard]] const Lapic& lapic(std::size_t cpu) const { return lapics_[cpu]; }
  [[nodiscard]] ApicBus& apic_bus() { return apic_bus_; }
  // What devices and the IOAPIC send goes through here to the local APICs.
  [[nodiscard]] bus::MessageInterruptRoute& messages() { return messages_; }
  [[nodiscard]] Ioapic& ioapic() { return ioapic_; }
  [[nodiscard]] PicPair& pic() { return pic_; }
  [[nodiscard]] Pit& pit() { return pit_; }
  [[nodiscard]] Rtc& rtc() { return rtc_; }
  [[nodiscard]] AcpiPm& acpi_pm() { return acpi_pm_; }
  [[nodiscard]] Uart& com1() { return com1_; }
  [[nodiscard]] Uart& com2() { return com2_; }
  [[nodiscard]] DebugConsole& debug_console() { return debug_console_; }
  // By the numbers of pc_map: of ISA below 16, else of PCI.
  [[nodiscard]] bus::IrqLine& irq(unsigned number) { return irqs_[number]; }
  [[nodiscard]] bus::IrqLine& nmi() { return nmi_; }

 private:
  PcConfig config_;
  // Lines end after their drivers, so they come first.
  std::deque<bus::IrqLine> irqs_;
  bus::IrqLine intr_{"INTR"};
  bus::IrqLine nmi_{"NMI"};

  ApicBus apic_bus_;
  bus::MessageInterruptRoute messages_{apic_bus_};
  bus::MessageInterruptWindow message_window_{messages_};
  std::deque<Lapic> lapics_;
  Ioapic ioapic_;
  PicPair pic_;
  Pit pit_;
  PortB port_b_;
  Rtc rtc_;
  AcpiPm acpi_pm_;
  KeyboardController keyboard_;
  ResetControl reset_control_;
  PortA port_a_;
  Uart com1_;
  Uart com2_;
  PostCode post_code_;
  DebugConsole debug_console_;
  DebugExit debug_exit_;
  TestData test_data_;
  TestIrqs test_irqs_;
  bus::RamBar test_memory_{pc_map::test_memory_bytes};
  FwCfg fw_cfg_;
};

}  // namespace cbit::chipset
