// What Linux 6.1 does to this chipset while it boots, and what it expects. Each test follows one function of
// the kernel; every port access takes a microsecond, as on a PC.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

namespace reg = spec::apic_register;

constexpr std::uint64_t tsc_khz = 1'000'000;  // the counter is the clock's nanoseconds

class LinuxTest : public testing::Test {
 protected:
  std::uint8_t inb(std::uint16_t port) {
    pc.run_us(1);
    return pc.inb(port);
  }
  void outb(unsigned value, std::uint16_t port) {
    pc.run_us(1);
    pc.outb(static_cast<std::uint8_t>(value), port);
  }
  std::uint64_t rdtsc() { return pc.clock.now_ns(); }
  std::uint8_t cmos(std::uint8_t index) {
    outb(index, 0x70);
    return inb(0x71);
  }

  // Runs for a time with interrupts on; `handle` is given each vector.
  void run_with_interrupts(std::uint64_t ns, const std::function<void(std::uint8_t)>& handle) {
    const std::uint64_t end = pc.clock.now_ns() + ns;
    while (pc.clock.now_ns() < end) {
      while (const auto vector = pc.take()) handle(*vector);
      pc.clock.advance(std::min(pc.clock.next_deadline().value_or(end), end) - pc.clock.now_ns());
    }
  }
  // pit_set_periodic() of drivers/clocksource/i8253.c at 250 Hz.
  void start_pit() {
    constexpr unsigned latch = (1'193'182 + 125) / 250;
    outb(0x34, 0x43);
    outb(latch & 0xff, 0x40);
    outb(latch >> 8, 0x40);
  }
  // init_8259A() of arch/x86/kernel/i8259.c.
  void init_8259(bool automatic_eoi) {
    outb(0xff, 0x21);
    outb(0x11, 0x20);
    outb(0x30, 0x21);
    outb(0x04, 0x21);
    outb(automatic_eoi ? 0x03 : 0x01, 0x21);
    outb(0x11, 0xa0);
    outb(0x38, 0xa1);
    outb(0x02, 0xa1);
    outb(0x01, 0xa1);
    outb(0xfb, 0x21);
    outb(0xff, 0xa1);
  }

  test::TestPc pc;
};

// probe_8259A() of arch/x86/kernel/i8259.c.
TEST_F(LinuxTest, FindsThePic) {
  outb(0xff, 0xa1);
  outb(0xfb, 0x21);
  EXPECT_EQ(inb(0x21), 0xfb);
}

// quick_pit_calibrate() of arch/x86/kernel/tsc.c.
TEST_F(LinuxTest, CalibratesItsTscQuicklyAgainstThePit) {
  const auto msb_is = [&](unsigned value) {
    inb(0x42);
    return inb(0x42) == value;
  };
  struct Seen {
    bool enough;
    std::uint64_t tsc, error;
  };
  const auto expect_msb = [&](unsigned value) {
    std::uint64_t tsc = 0, previous = 0;
    int count = 0;
    for (; count < 50'000 && msb_is(value); ++count) {
      previous = tsc;
      tsc = rdtsc();
    }
    return Seen{count > 5, tsc, rdtsc() - previous};
  };
  outb((inb(0x61) & ~0x02u) | 0x01u, 0x61);
  outb(0xb0, 0x43);
  outb(0xff, 0x42);
  outb(0xff, 0x42);
  msb_is(0);
  const Seen first = expect_msb(0xff);
  ASSERT_TRUE(first.enough);
  for (unsigned i = 1; i <= 50 * 1'193'182 / 1000 / 256; ++i) {
    const Seen next = expect_msb(0xff - i);
    ASSERT_TRUE(next.enough) << i;
    const std::uint64_t delta = next.tsc - first.tsc;
    if (first.error + next.error >= delta >> 11) continue;
    EXPECT_TRUE(msb_is(0xfe - i));
    EXPECT_NEAR(static_cast<double>(delta * 1'193'182 / (i * 256 * 1000)), tsc_khz, tsc_khz * 500e-6);
    return;
  }
  FAIL() << "the error did not become small enough in 50 ms";
}

// pit_calibrate_tsc() of arch/x86/kernel/tsc.c, with the power management timer as its reference.
TEST_F(LinuxTest, CalibratesItsTscAgainstThePitAndThePmTimer) {
  constexpr unsigned ms = 10;
  constexpr unsigned latch = 1'193'182 / (1000 / ms);
  const std::uint64_t start = rdtsc();
  const std::uint32_t pm_start = pc.inl(0x608);
  outb((inb(0x61) & ~0x02u) | 0x01u, 0x61);
  outb(0xb0, 0x43);
  outb(latch & 0xff, 0x42);
  outb(latch >> 8, 0x42);
  const std::uint64_t t1 = rdtsc();
  int reads = 0;
  while ((inb(0x61) & 0x20) == 0) ASSERT_LT(++reads, 1'000'000);
  EXPECT_GT(reads, 1000);
  EXPECT_NEAR(static_cast<double>((rdtsc() - t1) / ms), tsc_khz, tsc_khz * 0.001);
  const std::uint32_t pm = pc.inl(0x608) - pm_start;
  EXPECT_NEAR(static_cast<double>(rdtsc() - start) / pm * 3'579'545 / 1e6, tsc_khz / 1e3, tsc_khz / 1e6);
}

// check_timer() and timer_irq_works() of arch/x86/kernel/apic/io_apic.c: ten ticks pass, more than four are
// wanted. First IRQ 0 through the IOAPIC.
TEST_F(LinuxTest, GetsTicksThroughTheIoapic) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_apic(reg::tpr, 0x10);
  init_8259(true);
  outb(0xff, 0x21);
  start_pit();
  pc.set_apic(reg::lvt_lint0, 0x1'0700);
  pc.set_entry(2, 0x30);
  int ticks = 0;
  run_with_interrupts(40'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0x30);
    ++ticks;
    pc.eoi();
  });
  EXPECT_NEAR(ticks, 10, 1);
}

// Its last resorts: the PIC's output as a fixed interrupt of LINT0, and as an external one.
TEST_F(LinuxTest, GetsTicksThroughTheVirtualWire) {
  pc.set_apic(reg::svr, 0x1ff);
  init_8259(true);
  start_pit();
  pc.set_apic(reg::lvt_lint0, 0x30);
  outb(0xfa, 0x21);
  int ticks = 0;
  run_with_interrupts(40'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0x30);
    ++ticks;
    pc.eoi();
  });
  EXPECT_GE(ticks, 1) << "an edge; the PIC is never acknowledged";

  pc.set_apic(reg::lvt_lint0, 0x1'0030);
  outb(0xff, 0x21);
  init_8259(false);
  pc.set_apic(reg::lvt_lint0, 0x700);
  outb(0xfa, 0x21);
  ticks = 0;
  run_with_interrupts(40'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0x30);
    ++ticks;
    outb(0x60, 0x20);
  });
  EXPECT_NEAR(ticks, 10, 1);
}

// The one-shot mode of the PIT, pit_next_event() of drivers/clocksource/i8253.c.
TEST_F(LinuxTest, GetsATickThatItAskedFor) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(2, 0x30);
  outb(0x38, 0x43);
  outb(0x00, 0x40);
  outb(0x10, 0x40);  // 4096 ticks
  const std::uint64_t asked = pc.clock.now_ns();
  int ticks = 0;
  run_with_interrupts(20'000'000, [&](std::uint8_t) {
    EXPECT_NEAR(static_cast<double>(pc.clock.now_ns() - asked), 4097e9 / 1'193'182, 2'000);
    ++ticks;
    pc.eoi();
  });
  EXPECT_EQ(ticks, 1);
  outb(0x30, 0x43);  // pit_shutdown()
  outb(0x00, 0x40);
  outb(0x00, 0x40);
  run_with_interrupts(100'000'000, [&](std::uint8_t) { ++ticks; });
  EXPECT_LE(ticks, 2) << "mode 0 goes high once";
}

// setup_APIC_timer() and lapic_next_deadline() of arch/x86/kernel/apic/apic.c.
TEST_F(LinuxTest, GetsTicksByTscDeadlines) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_apic(reg::lvt_timer, 2 << 17 | 0xec);
  Lapic& lapic = pc.pc.lapic(0);
  int ticks = 0;
  ASSERT_TRUE(lapic.write_msr(0x6e0, rdtsc() + 4'000'000));
  run_with_interrupts(40'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0xec);
    ++ticks;
    EXPECT_TRUE(lapic.write_msr(0x6e0, rdtsc() + 4'000'000));
    pc.eoi();
  });
  EXPECT_EQ(ticks, 9) << "the tenth falls on the end";
}

// calibrate_APIC_clock() of arch/x86/kernel/apic/apic.c: the count is read at ticks of 250 Hz.
TEST_F(LinuxTest, CalibratesItsApicTimer) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_apic(reg::lvt_timer, 0x1'00ec);
  pc.set_apic(reg::divide, 0x3);  // by 16
  pc.set_apic(reg::initial_count, 0xffff'ffff);
  start_pit();
  pc.set_entry(2, 0x30);
  std::uint32_t first = 0, last = 0;
  int ticks = 0;
  run_with_interrupts(120'000'000, [&](std::uint8_t) {
    if (ticks == 0) first = pc.apic(reg::current_count);
    if (ticks == 25) last = pc.apic(reg::current_count);
    ++ticks;
    pc.eoi();
  });
  ASSERT_GT(ticks, 25);
  EXPECT_NEAR(first - last, 1'000'000'000.0 / 16 / 10, 1'000);
}

// mc146818_get_time() of drivers/rtc/rtc-mc146818-lib.c, begun at any moment of a second.
TEST_F(LinuxTest, ReadsAConsistentTimeWhenNoUpdateIsInProgress) {
  for (int start = 0; start < 40; ++start) {
    pc.clock.advance(49'000'000);
    for (int attempt = 0;; ++attempt) {
      ASSERT_LT(attempt, 30) << "an update takes 2 ms at most";
      const std::uint8_t seconds = cmos(0x00);
      if ((cmos(0x0a) & 0x80) != 0 || cmos(0x00) != seconds) {
        pc.run_us(100);
        continue;
      }
      const std::uint8_t minutes = cmos(0x02);
      if ((cmos(0x0a) & 0x80) != 0 || cmos(0x00) != seconds) continue;
      const std::uint64_t now = pc.clock.now_ns() / 1'000'000'000;
      EXPECT_EQ(seconds, now % 60 / 10 << 4 | now % 10);
      EXPECT_EQ(minutes, 0);
      break;
    }
  }
}

// cmos_do_probe() and hpet-less rtc_irq: an alarm through the IOAPIC, acknowledged by register C.
TEST_F(LinuxTest, GetsTheInterruptOfItsClock) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(8, 0x38);
  pc.set_cmos(0x0b, 0x12);
  int interrupts = 0;
  run_with_interrupts(3'500'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0x38);
    EXPECT_EQ(pc.cmos(0x0c) & 0x90, 0x90);
    ++interrupts;
    pc.eoi();
  });
  EXPECT_EQ(interrupts, 3);
}

class LinuxSerialTest : public LinuxTest {
 protected:
  LinuxSerialTest() { pc.pc.com1().set_peer(&peer); }
  std::uint8_t serial_in(unsigned offset) { return inb(static_cast<std::uint16_t>(0x3f8 + offset)); }
  void serial_out(unsigned offset, unsigned value) {
    outb(value, static_cast<std::uint16_t>(0x3f8 + offset));
  }
  test::RecordingPeer peer;
};

// autoconfig() and autoconfig_16550a() of drivers/tty/serial/8250/8250_port.c.
TEST_F(LinuxSerialTest, FindsA16550AThatIsNoneOfItsSuccessors) {
  serial_out(1, 0);
  EXPECT_EQ(serial_in(1) & 0x0f, 0);
  serial_out(1, 0x0f);
  EXPECT_EQ(serial_in(1) & 0x0f, 0x0f);
  serial_out(1, 0);
  serial_out(4, 0x1a);
  EXPECT_EQ(serial_in(6) & 0xf0, 0x90);
  serial_out(4, 0);
  serial_out(3, 0xbf);
  serial_out(2, 0);
  serial_out(3, 0);
  serial_out(2, 0x01);
  EXPECT_EQ(serial_in(2) >> 6, 3) << "FIFOs that work";
  serial_out(3, 0xbf);
  EXPECT_NE(serial_in(2), 0) << "no EFR";
  serial_out(3, 0);
  const std::uint8_t mcr = serial_in(4);
  serial_out(3, 0xe0);
  const std::uint8_t before = serial_in(2);
  serial_out(3, 0);
  serial_out(4, mcr ^ 0x10u);
  serial_out(3, 0xe0);
  EXPECT_EQ((serial_in(2) ^ before) & 0x10, 0) << "MCR is not there in bank 2 (National's super I/O)";
  serial_out(3, 0);
  serial_out(4, mcr);
  serial_out(2, 0x01);
  EXPECT_EQ(serial_in(2) >> 5, 6);
  serial_out(3, 0x80);
  serial_out(2, 0x21);
  EXPECT_EQ(serial_in(2) >> 5, 6) << "no FIFOs of 64 bytes";
  serial_out(3, 0);
  serial_out(1, 0x40);
  EXPECT_EQ(serial_in(1) & 0x40, 0) << "no XScale";
}

// size_fifo() of the same file.
TEST_F(LinuxSerialTest, MeasuresAFifoOf16Bytes) {
  serial_out(3, 0);
  serial_out(2, 0x07);
  serial_out(4, 0x10);
  serial_out(3, 0x03);
  for (unsigned i = 0; i < 256; ++i) serial_out(0, i);
  pc.run_us(20'000);
  unsigned count = 0;
  for (; (serial_in(5) & 0x01) != 0 && count < 256; ++count) serial_in(0);
  EXPECT_EQ(count, 16u);
  EXPECT_EQ(peer.output, "");
}

// serial8250_do_startup(): the tests for UART_BUG_THRE and UART_BUG_TXEN.
TEST_F(LinuxSerialTest, FindsNoBugsInTheTransmittersInterrupt) {
  EXPECT_NE(serial_in(5), 0xff);
  serial_out(1, 0x02);
  EXPECT_EQ(serial_in(2) & 1, 0);
  serial_out(1, 0x00);
  serial_out(1, 0x02);
  EXPECT_EQ(serial_in(2) & 1, 0) << "it is reported again";
  serial_out(1, 0x00);
  serial_out(3, 0x03);
  serial_out(4, 0x08);
  serial_out(1, 0x02);
  EXPECT_NE(serial_in(5) & 0x40, 0);
  EXPECT_EQ(serial_in(2) & 1, 0);
  serial_out(1, 0x00);
}

// serial8250_handle_irq() with a driver that sends a long text, 16 bytes each time.
TEST_F(LinuxSerialTest, SendsByInterrupts) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(4, 0x34);
  const std::string text(1000, 'x');
  std::size_t sent = 0;
  serial_out(3, 0x03);
  serial_out(2, 0x01);
  serial_out(4, 0x0b);
  serial_out(1, 0x07);
  run_with_interrupts(10'000'000, [&](std::uint8_t vector) {
    EXPECT_EQ(vector, 0x34);
    while ((serial_in(2) & 1) == 0) {
      serial_in(5);
      for (int i = 0; i < 16 && sent < text.size(); ++i)
        serial_out(0, static_cast<unsigned char>(text[sent++]));
      if (sent == text.size()) serial_out(1, 0x05);
    }
    pc.eoi();
  });
  EXPECT_EQ(peer.output, text);
}

TEST_F(LinuxSerialTest, ReceivesByInterrupts) {
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(4, 0x34);
  const std::string text(1000, 'y');
  peer.input = text;
  serial_out(3, 0x03);
  serial_out(2, 0x81);
  serial_out(2, 0x87);  // clears the FIFOs: nothing may be in them
  serial_in(0);
  serial_out(4, 0x0b);
  serial_out(1, 0x05);
  std::string received;
  run_with_interrupts(10'000'000, [&](std::uint8_t) {
    // A handler that gives up early, and is called again by the next edge.
    for (int i = 0; i < 16 && (serial_in(5) & 1) != 0; ++i) received += static_cast<char>(serial_in(0));
    pc.eoi();
  });
  EXPECT_EQ(received, text);
}

class LinuxKeyboardTest : public LinuxTest {
 protected:
  // __i8042_command() of drivers/input/serio/i8042.c: -1, or the answer.
  int command(std::uint8_t code, int parameter = -1, bool answers = true, bool from_mouse = false) {
    EXPECT_EQ(inb(0x64) & 0x02, 0);
    outb(code, 0x64);
    if (parameter >= 0) outb(static_cast<unsigned>(parameter), 0x60);
    if (!answers) return -1;
    int waited = 0;
    while ((inb(0x64) & 0x01) == 0)
      if (++waited == 100) return -1;
    if (from_mouse && (inb(0x64) & 0x20) == 0) return -1;
    return inb(0x60);
  }
};

// i8042_controller_check(), _init(), _selftest(), i8042_check_aux(), and then the probe of a keyboard.
TEST_F(LinuxKeyboardTest, EndsItsProbeQuickly) {
  const std::uint64_t start = pc.clock.now_ns();
  EXPECT_EQ(inb(0x64) & 0x01, 0) << "nothing to flush";
  EXPECT_EQ(command(0xaa), 0x55);
  const int mode = command(0x20);
  EXPECT_EQ(command(0x20), mode);
  EXPECT_NE(inb(0x64) & 0x10, 0) << "no key lock";
  command(0x60, mode | 0x10, false);
  EXPECT_EQ(command(0xd3, 0x5a, true, true), -1) << "no mouse port";
  const int test = command(0xa9);
  EXPECT_TRUE(test != 0 && test != 0xfa && test != 0xff) << "and that is known, not a broken loop";
  // The keyboard port is enabled, and atkbd_probe() asks for an identity.
  command(0x60, (mode & ~0x10) | 0x01, false);
  pc.set_apic(reg::svr, 0x1ff);
  pc.set_entry(1, 0x31);
  outb(0xf2, 0x60);
  EXPECT_EQ(pc.take(), 0x31);
  EXPECT_EQ(inb(0x64) & 0x41, 0x41) << "a time-out";
  EXPECT_EQ(inb(0x60), 0xfe);
  EXPECT_LT(pc.clock.now_ns() - start, 1'000'000u);
}

// native_machine_emergency_restart() of arch/x86/kernel/reboot.c: ACPI, the keyboard controller, port CF9h.
TEST_F(LinuxTest, RestartsByEachOfItsWays) {
  outb(0x06, 0xcf9);  // acpi_reboot() with the FADT's register and value
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{"reset platform"});
  EXPECT_EQ(inb(0x64) & 0x02, 0);  // kb_wait()
  outb(0xfe, 0x64);
  EXPECT_EQ(pc.platform.calls.back(), "reset cpu");
  const unsigned cf9 = inb(0xcf9) & ~0x06u;
  outb(cf9 | 0x02, 0xcf9);
  outb(cf9 | 0x06, 0xcf9);
  EXPECT_EQ(pc.platform.calls.size(), 3u);
  EXPECT_EQ(pc.platform.calls.back(), "reset platform");
}

// acpi_hw_legacy_sleep() of drivers/acpi/acpica/hwsleep.c: the type first, then the type with SLP_EN.
TEST_F(LinuxTest, TurnsTheMachineOff) {
  const auto control = static_cast<std::uint16_t>(pc.ports.read(0x604, 2) & ~0x3c00u);
  pc.outw(0xffff, 0x600);
  pc.outw(control, 0x604);
  EXPECT_TRUE(pc.platform.calls.empty());
  pc.outw(control | 0x2000, 0x604);
  EXPECT_EQ(pc.platform.calls, std::vector<std::string>{"power off"});
}

// i8237A_init_ops() and the probe of a Fintek super I/O look where there is nothing.
TEST_F(LinuxTest, SeesOnesWhereThereIsNothing) {
  for (const int port : {0x87, 0x2e, 0x4e, 0x378, 0x1f7, 0x3e8, 0x2e8})
    EXPECT_EQ(inb(static_cast<std::uint16_t>(port)), 0xff) << port;
}

}  // namespace
}  // namespace cbit::chipset
