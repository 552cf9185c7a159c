// A hostile guest on two processors: the input is what they do to every port, register page and MSR of a PC's
// chipset, while time passes and devices pull at their lines.
//
// Held: nothing crashes; work is bounded: a time that passes has only so many deadlines in it, and after each
// of them the next one is later; an interrupt that is signalled can be acknowledged, with a vector that
// priority allows or, for an external one, that the PIC gives; what a line shows follows from its drivers.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <iterator>

#include "chipset/pc_chipset.hpp"
#include "chipset/pc_map.hpp"
#include "fuzz_input.hpp"

namespace cbit::chipset {
namespace {

constexpr unsigned steps_max = 400;
constexpr unsigned cpus = 2;
// Time passes by up to a minute, or until this many deadlines have come.
constexpr std::uint64_t advance_ns_max = 60'000'000'000;
constexpr std::uint64_t deadlines_max = 500;
// The PIT changes its output with every tick at most; others are slower, and a local APIC's timer rests until
// its interrupt has been taken.
constexpr std::uint64_t deadline_ns_min = 838 / 3;

void require(bool holds) {
  if (!holds) std::abort();
}

class Platform final : public PlatformControl {
 public:
  void reset(ResetKind kind) override { resets += kind == ResetKind::platform; }
  void power_off() override {}
  void exit(std::uint32_t) override {}
  int resets = 0;
};

class Peer final : public SerialPeer {
 public:
  void transmit(std::byte) override {}
  std::optional<std::byte> receive() override {
    if (left == 0) return std::nullopt;
    return static_cast<std::byte>(left--);
  }
  std::uint8_t left = 0;
};

PcConfig config(std::uint8_t options) {
  PcConfig config;
  config.cpus = cpus;
  config.pm_timer_bits = (options & 1) != 0 ? 24 : 32;
  config.virtual_wire = (options & 2) != 0;
  config.input_waits = (options & 4) != 0;
  config.debug_exit = config.test_ports = true;
  config.lapic.x2apic = (options & 8) == 0;
  config.lapic.tsc_deadline = (options & 16) == 0;
  config.rtc.start_seconds = 1'700'000'000;
  return config;
}

class Guest {
 public:
  explicit Guest(FuzzInput& input) : input_{&input}, pc_{clock_, platform_, config(input.byte())} {
    pc_.attach(ports_);
    pc_.com1().set_peer(&peer_);
    for (unsigned irq = 0; irq < pc_map::irq_count; ++irq) devices_.emplace_back(pc_.irq(irq), "device");
  }

  void step() {
    switch (input_->below(14)) {
      case 0:
      case 1:
      case 2: return access_port();
      case 3:
      case 4: return access_page();
      case 5: return access_msr();
      case 6: return access_ioapic();
      case 7: return advance((input_->take<std::uint64_t>() >> input_->below(64)) % advance_ns_max);
      case 8: return pull_line();
      case 9: return acknowledge();
      case 10: return take_signals();
      case 11: return route();
      case 12: return end_of_interrupt();
      default: return disturb();
    }
  }

 private:
  Lapic& lapic() { return pc_.lapic(input_->below(cpus)); }

  void access_port() {
    const pc_map::PcPorts& row = pc_map::ports[input_->below(std::size(pc_map::ports))];
    const std::uint8_t within = input_->byte();
    const auto port = static_cast<std::uint16_t>(row.range.first + within % (row.range.ports + 1));
    const unsigned bytes = 1u << within / 86;
    if (input_->flag())
      ports_.write(port, bytes, input_->take<std::uint32_t>());
    else
      ports_.read(port, bytes);
    if (platform_.resets != 0 && input_->flag()) pc_.reset();
    platform_.resets = 0;
  }

  // Mostly aligned words, else what no driver does.
  void access_region(bus::MmioRegion& region, std::uint64_t offset) {
    std::array<std::byte, 16> raw{};
    const std::uint8_t shape = input_->byte();
    const std::size_t bytes = shape < 224 ? 4 : 1 + shape % raw.size();
    if (shape >= 224) offset += shape % 4;
    const ByteSpan part = ByteSpan{raw}.first(bytes);
    store(raw, 0, input_->take<std::uint32_t>());
    require((shape & 1) != 0 ? region.write(offset, part).has_value()
                             : region.read(offset, part).has_value());
  }

  void access_page() { access_region(lapic().registers(), std::uint64_t{input_->byte()} % 0x48 * 0x10); }

  void access_ioapic() {
    constexpr std::uint64_t offsets[] = {0x00, 0x10, 0x10, 0x40};
    access_region(pc_.ioapic(), offsets[input_->below(4)]);
  }

  void write(bus::MmioRegion& region, std::uint64_t offset, std::uint32_t value) {
    require(region.write(offset, bytes_of(value)).has_value());
  }

  // What a driver does, so that interrupts get far: enables a processor's APIC, and sends a pin's interrupt
  // there.
  void route() {
    const std::uint8_t cpu = input_->below(cpus);
    const std::uint8_t pin = input_->below(Ioapic::pin_count);
    write(pc_.lapic(cpu).registers(), spec::apic_register::svr, 0x1ff);
    const std::uint32_t low = input_->take<std::uint16_t>() & 0xa1ffu;
    write(pc_.ioapic(), 0x00, 0x11u + 2 * pin);
    write(pc_.ioapic(), 0x10, std::uint32_t{cpu} << 24);
    write(pc_.ioapic(), 0x00, 0x10u + 2 * pin);
    write(pc_.ioapic(), 0x10, low);
  }

  void end_of_interrupt() {
    Lapic& cpu = lapic();
    if (cpu.x2apic_mode())
      require(cpu.write_msr(0x80b, 0));
    else
      write(cpu.registers(), spec::apic_register::eoi, 0);
  }

  void access_msr() {
    Lapic& cpu = lapic();
    const std::uint8_t which = input_->byte();
    std::uint32_t msr = 0x800u + which % 0x40;
    if (which >= 0xc0) msr = which % 2 != 0 ? 0x1b : 0x6e0;
    if (input_->flag()) {
      std::uint64_t value = input_->take<std::uint64_t>();
      // Modes are reached by values that are rarely hit by chance.
      if (msr == 0x1b && which % 4 != 3) value = 0xfee0'0000 | (value & 0xd00);
      if (msr == 0x6e0 && which % 4 != 2) value = clock_.now_ns() + value % 10'000'000;
      (void)cpu.write_msr(msr, value);
    } else {
      (void)cpu.read_msr(msr);
    }
  }

  void advance(std::uint64_t ns) {
    const std::uint64_t start = clock_.now_ns();
    for (std::uint64_t deadlines = 0; deadlines < deadlines_max; ++deadlines) {
      require(deadlines <= 20 + (clock_.now_ns() - start) / deadline_ns_min);
      const auto next = clock_.next_deadline();
      if (!next || *next > start + ns) return clock_.advance(start + ns - clock_.now_ns());
      clock_.advance(std::max(*next, clock_.now_ns()) - clock_.now_ns());
      const auto after = clock_.next_deadline();
      require(!after || *after > clock_.now_ns());
    }
  }

  void pull_line() {
    bus::IrqDriver& device = devices_[input_->below(pc_map::irq_count)];
    const std::uint8_t how = input_->below(3);
    if (how == 2)
      device.pulse();
    else
      device.set(how == 1);
    bool driven = false;
    for (const bus::IrqDriver* driver : device.line().drivers()) driven |= driver->asserted();
    require(device.line().asserted() == driven);
  }

  void acknowledge() {
    Lapic& cpu = lapic();
    if (!cpu.signals().has(bus::CpuSignal::intr)) return;
    const std::uint8_t class_before = cpu.cr8();
    const bool from_pic = external(cpu);
    const std::uint8_t vector = cpu.acknowledge();
    require(from_pic || (vector >= 16 && vector >> 4 > class_before));
  }
  // Whether this may be the PIC's interrupt, which knows no priorities of the APIC. An APIC that is in
  // service tells by its own registers, which only its page or its MSRs show: so look at what stays pending.
  bool external(Lapic& cpu) {
    cpu.set_cr8(0xf);  // holds back all of the APIC's own
    const bool external = cpu.signals().has(bus::CpuSignal::intr);
    cpu.set_cr8(0);
    return external;
  }

  void take_signals() {
    Lapic& cpu = lapic();
    const bus::CpuSignals before = cpu.signals();
    require(cpu.take_nmi() == before.has(bus::CpuSignal::nmi));
    require(cpu.take_smi() == before.has(bus::CpuSignal::smi));
    require(cpu.take_startup().has_value() == before.has(bus::CpuSignal::startup));
    require(cpu.take_init() == before.has(bus::CpuSignal::init));
    for (const auto signal : {bus::CpuSignal::nmi, bus::CpuSignal::smi, bus::CpuSignal::init})
      require(!cpu.signals().has(signal));
  }

  void disturb() {
    switch (input_->below(6)) {
      case 0: {
        TickCounter tsc{1 + input_->take<std::uint32_t>() % 4'000'000'000u};
        tsc.set(clock_.now_ns(), input_->take<std::uint64_t>());
        return lapic().set_tsc(tsc);
      }
      case 1: return lapic().set_cr8(input_->below(16));
      case 2: peer_.left = input_->byte(); return pc_.com1().input_available();
      case 3: return pc_.acpi_pm().press_power_button();
      case 4: return pc_.nmi().asserted() ? nmi_.lower() : nmi_.raise();
      default:
        pc_.apic_bus().deliver({spec::msi_window + input_->take<std::uint32_t>() % spec::msi_window_bytes,
                                input_->take<std::uint32_t>()});
    }
  }

  FuzzInput* input_;
  Clock clock_;
  Platform platform_;
  Peer peer_;
  bus::PortSpace ports_;
  PcChipset pc_;
  std::deque<bus::IrqDriver> devices_;
  bus::IrqDriver nmi_{pc_.nmi(), "nmi"};
};

}  // namespace
}  // namespace cbit::chipset

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  FuzzInput input{data, size};
  chipset::Guest guest{input};
  for (unsigned step = 0; step < chipset::steps_max && !input.empty(); ++step) guest.step();
  return 0;
}
