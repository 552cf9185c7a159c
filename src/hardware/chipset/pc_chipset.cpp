#include "chipset/pc_chipset.hpp"

#include "base/assert.hpp"
#include "chipset/pc_map.hpp"
#include "spec/apic.hpp"

namespace cbit::chipset {
namespace {

std::deque<bus::IrqLine> make_irq_lines() {
  std::deque<bus::IrqLine> lines;
  for (unsigned irq = 0; irq < pc_map::irq_count; ++irq) {
    const bool pci = irq >= pc_map::first_pci_irq;
    lines.emplace_back((pci ? "GSI " : "IRQ ") + std::to_string(irq),
                       pci ? bus::ActiveLevel::low : bus::ActiveLevel::high);
  }
  return lines;
}

}  // namespace

PcChipset::PcChipset(Clock& clock, PlatformControl& platform, const PcConfig& config)
    : config_{config},
      irqs_{make_irq_lines()},
      ioapic_{messages_, pc_map::ioapic_id, pc_map::ioapic_requester},
      pic_{intr_},
      pit_{clock, irqs_[pc_map::timer_irq]},
      port_b_{clock, pit_},
      rtc_{clock, irqs_[pc_map::rtc_irq], config.rtc},
      acpi_pm_{clock, irqs_[pc_map::sci_irq], platform, config.pm_timer_bits},
      keyboard_{irqs_[pc_map::keyboard_irq], platform},
      reset_control_{platform},
      port_a_{platform},
      com1_{irqs_[pc_map::com1_irq], "com1", config.input_waits},
      com2_{irqs_[pc_map::com2_irq], "com2", config.input_waits},
      debug_exit_{platform},
      test_irqs_{irqs_},
      fw_cfg_{static_cast<std::uint16_t>(config.cpus),
              config.rtc.memory_below_4g_bytes + config.rtc.memory_above_4g_bytes} {
  CBIT_ASSERT(config.cpus >= 1);
  for (unsigned cpu = 0; cpu < config.cpus; ++cpu) {
    LapicConfig of_cpu = config.lapic;
    of_cpu.id = cpu;
    of_cpu.bootstrap = cpu == 0;
    Lapic& lapic = lapics_.emplace_back(clock, apic_bus_, of_cpu);
    lapic.set_ext_int_source(&pic_);
    intr_.connect(lapic, Lapic::lint0);
    nmi_.connect(lapic, Lapic::lint1);
  }
  apic_bus_.attach(static_cast<EoiListener&>(ioapic_));
  for (unsigned irq = 0; irq < pc_map::irq_count; ++irq) {
    if (irq == pc_map::cascade_irq) continue;
    if (irq < pc_map::first_pci_irq) irqs_[irq].connect(pic_, irq);
    irqs_[irq].connect(ioapic_, pc_map::gsi_of(irq));
  }
  if (config.virtual_wire) lapics_.front().enter_virtual_wire_mode();
}

void PcChipset::attach(bus::SystemBus& memory, bus::PortSpace& ports) {
  memory.add_mmio({pc_map::ioapic_base, Ioapic::region_bytes}, ioapic_);
  memory.add_mmio({PhysAddr{spec::msi_window}, spec::msi_window_bytes}, message_window_);
  if (config_.test_ports)
    memory.add_mmio({pc_map::test_memory_base, pc_map::test_memory_bytes}, test_memory_);
  attach(ports);
}

void PcChipset::attach(bus::PortSpace& ports) {
  using namespace pc_map;
  ports.add(pic_master_ports, pic_.master_ports());
  ports.add(pic_slave_ports, pic_.slave_ports());
  ports.add(elcr_ports, pic_.elcr_ports());
  ports.add(pit_ports, pit_);
  ports.add(port_b_port, port_b_);
  ports.add(keyboard_data_port, keyboard_.data_port());
  ports.add(keyboard_command_port, keyboard_.command_port());
  ports.add(rtc_ports, rtc_);
  ports.add(post_code_port, post_code_);
  ports.add(port_a_port, port_a_);
  ports.add(com1_ports, com1_);
  ports.add(com2_ports, com2_);
  ports.add(acpi_pm_ports, acpi_pm_, bus::ports_of_any_width);
  ports.add(reset_control_port, reset_control_, bus::whole_bytes_only);
  if (config_.debug_console) ports.add(debug_console_port, debug_console_);
  if (config_.debug_exit) ports.add(debug_exit_ports, debug_exit_, bus::ports_of_any_width);
  if (!config_.test_ports) return;
  ports.add(test_data_ports, test_data_, bus::ports_of_any_width);
  ports.add(test_irq_ports, test_irqs_);
  ports.add(fw_cfg_ports, fw_cfg_, bus::PortWidths{.byte = true, .word = true});
}

void PcChipset::reset() {
  for (Lapic& lapic : lapics_) lapic.reset();
  ioapic_.reset();
  pic_.reset();
  pit_.reset();
  port_b_.reset();
  rtc_.reset();
  acpi_pm_.reset();
  keyboard_.reset();
  reset_control_.reset();
  port_a_.reset();
  com1_.reset();
  com2_.reset();
  post_code_.reset();
  test_irqs_.reset();
  fw_cfg_.reset();
  if (config_.virtual_wire) lapics_.front().enter_virtual_wire_mode();
}

void PcChipset::flush() {
  com1_.flush();
  com2_.flush();
  debug_console_.flush();
}

void PcChipset::transfer(StateStream& s) {
  s.section("local APICs", [&] { s.same_size(lapics_); });
  s.section("ioapic", [&] { s(ioapic_); });
  s.section("pic", [&] { s(pic_); });
  s.section("pit", [&] { s(pit_, port_b_); });
  s.section("rtc", [&] { s(rtc_); });
  s.section("acpi", [&] { s(acpi_pm_); });
  s.section("keyboard", [&] { s(keyboard_, reset_control_, port_a_); });
  s.section("serial ports", [&] { s(com1_, com2_); });
  s.section("debug ports", [&] { s(post_code_, test_data_, test_irqs_, test_memory_, fw_cfg_); });
}

}  // namespace cbit::chipset
