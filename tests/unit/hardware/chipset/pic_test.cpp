// Expected values are those of the Intel 8259A datasheet (231468).
#include "chipset/pic.hpp"

#include <gtest/gtest.h>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

struct PicTest : testing::Test {
  PicTest() {
    ports.add({0x20, 2}, pic.master_ports());
    ports.add({0xa0, 2}, pic.slave_ports());
    ports.add({0x4d0, 2}, pic.elcr_ports());
    initialise();
  }
  // ICW1 to ICW4 as init_8259A() of Linux's arch/x86/kernel/i8259.c sends them, to both.
  void initialise(std::uint8_t icw4 = 0x01) {
    for (const auto& [port, base, cascade] :
         {std::tuple<std::uint16_t, std::uint8_t, std::uint8_t>{0x20, 0x30, 0x04}, {0xa0, 0x38, 0x02}}) {
      outb(0x11, port);
      outb(base, data(port));
      outb(cascade, data(port));
      outb(icw4, data(port));
    }
  }
  static std::uint16_t data(std::uint16_t port) { return static_cast<std::uint16_t>(port + 1); }
  void outb(std::uint8_t value, std::uint16_t port) { ports.write(port, 1, value); }
  std::uint8_t inb(std::uint16_t port) { return static_cast<std::uint8_t>(ports.read(port, 1)); }
  std::uint8_t irr(std::uint16_t port = 0x20) {
    outb(0x0a, port);
    return inb(port);
  }
  std::uint8_t isr(std::uint16_t port = 0x20) {
    outb(0x0b, port);
    return inb(port);
  }
  void raise(unsigned input) { pic.set_input(input, true); }
  void lower(unsigned input) { pic.set_input(input, false); }
  void pulse(unsigned input) {
    lower(input);
    raise(input);
  }

  bus::IrqLine intr{"INTR"};
  PicPair pic{intr};
  bus::PortSpace ports;
};

TEST_F(PicTest, RequestsServesAndEndsAnInterrupt) {
  raise(4);
  EXPECT_TRUE(intr.asserted());
  EXPECT_EQ(irr(), 0x10);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  EXPECT_FALSE(intr.asserted());
  EXPECT_EQ(irr(), 0x00);
  EXPECT_EQ(isr(), 0x10);
  outb(0x20, 0x20);
  EXPECT_EQ(isr(), 0x00);
  EXPECT_FALSE(intr.asserted()) << "the line is still up, but that is no edge";
  pulse(4);
  EXPECT_TRUE(intr.asserted());
}

TEST_F(PicTest, ServesTheLowestInputFirstAndNestsHigherOnes) {
  raise(6);
  raise(3);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  EXPECT_FALSE(intr.asserted()) << "6 waits for 3";
  raise(1);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  EXPECT_EQ(isr(), 0x0a);
  outb(0x20, 0x20);  // ends the one of highest priority
  EXPECT_EQ(isr(), 0x08);
  outb(0x63, 0x20);  // specific
  EXPECT_EQ(pic.acknowledge(), 0x36);
}

TEST_F(PicTest, RemembersARequestThatIsMasked) {
  outb(0xff, 0x21);
  EXPECT_EQ(inb(0x21), 0xff);
  raise(4);
  EXPECT_FALSE(intr.asserted());
  EXPECT_EQ(irr(), 0x10);
  outb(0xef, 0x21);
  EXPECT_EQ(pic.acknowledge(), 0x34);
}

TEST_F(PicTest, AnswersWithInput7WhenTheLineDropsTooEarly) {
  raise(4);
  lower(4);
  EXPECT_FALSE(intr.asserted());
  EXPECT_EQ(pic.acknowledge(), 0x37);
  EXPECT_EQ(isr(), 0x00) << "a spurious interrupt is not in service";
  raise(7);
  EXPECT_EQ(pic.acknowledge(), 0x37);
  EXPECT_EQ(isr(), 0x80);
}

TEST_F(PicTest, CascadesTheSlave) {
  raise(8);
  EXPECT_EQ(irr(), 0x04);
  EXPECT_EQ(pic.acknowledge(), 0x38);
  EXPECT_EQ(isr(0x20), 0x04);
  EXPECT_EQ(isr(0xa0), 0x01);
  raise(3);
  EXPECT_FALSE(intr.asserted()) << "the slave's input comes before 3";
  outb(0x20, 0xa0);
  outb(0x20, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, BlocksAHigherInputOfTheSlaveUnlessItIsSpecialFullyNested) {
  raise(12);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  raise(9);
  EXPECT_FALSE(intr.asserted());
  outb(0x20, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x39);

  initialise(0x11);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  pulse(9);
  EXPECT_EQ(pic.acknowledge(), 0x39);
  EXPECT_EQ(isr(0xa0), 0x12);
}

TEST_F(PicTest, EndsInterruptsItselfInAutomaticMode) {
  initialise(0x03);
  raise(4);
  raise(5);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  EXPECT_EQ(isr(), 0x00);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  EXPECT_FALSE(intr.asserted());
}

TEST_F(PicTest, FollowsTheLineOfALevelTriggeredInput) {
  outb(0xff, 0x4d0);
  outb(0xff, 0x4d1);
  EXPECT_EQ(inb(0x4d0), 0xf8);
  EXPECT_EQ(inb(0x4d1), 0xde);
  raise(5);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  EXPECT_EQ(irr(), 0x20);
  outb(0x20, 0x20);
  EXPECT_TRUE(intr.asserted()) << "again, while the line is up";
  lower(5);
  EXPECT_FALSE(intr.asserted());
  raise(1);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  outb(0x20, 0x20);
  EXPECT_FALSE(intr.asserted()) << "1 cannot be a level";
}

TEST_F(PicTest, RotatesPriorities) {
  for (const unsigned input : {3u, 5u}) raise(input);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  outb(0xa0, 0x20);  // rotate on non-specific EOI: 3 is now the lowest
  EXPECT_EQ(isr(), 0x00);
  pulse(3);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  outb(0x20, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  outb(0x20, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  outb(0xe3, 0x20);  // rotate on specific EOI
  outb(0xc5, 0x20);  // set priority: 5 is the lowest, 6 the highest
  raise(6);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x36);
}

TEST_F(PicTest, RotatesOnAutomaticEoi) {
  initialise(0x03);
  outb(0x80, 0x20);
  raise(3);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  pulse(3);
  raise(6);
  EXPECT_EQ(pic.acknowledge(), 0x36);
  outb(0x00, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  pulse(3);
  pulse(2);  // no input: the cascade
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, LetsLowerInputsThroughInSpecialMaskMode) {
  raise(3);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  raise(5);
  EXPECT_FALSE(intr.asserted());
  outb(0x08, 0x21);  // mask the one in service
  EXPECT_FALSE(intr.asserted());
  outb(0x68, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  outb(0x20, 0x20);
  EXPECT_EQ(isr(), 0x08) << "an EOI does not end what is masked";
  outb(0x48, 0x20);
  outb(0x20, 0x20);
  EXPECT_EQ(isr(), 0x00);
}

TEST_F(PicTest, AnswersAPollWithTheInputAndServesIt) {
  outb(0x0c, 0x20);
  EXPECT_EQ(inb(0x20) & 0x80, 0);
  raise(6);
  outb(0x0c, 0x20);
  EXPECT_EQ(inb(0x20), 0x86);
  EXPECT_EQ(isr(), 0x40);
  EXPECT_FALSE(intr.asserted());
  outb(0x20, 0x20);
  pulse(6);
  outb(0x0c, 0x20);
  EXPECT_EQ(inb(0x21), 0x86) << "at the other port, too";
  EXPECT_EQ(inb(0x21), 0x00) << "once";
}

TEST_F(PicTest, ForgetsItsStateWithIcw1) {
  raise(4);
  pic.acknowledge();
  raise(5);
  outb(0xff, 0x21);
  outb(0xc3, 0x20);
  initialise();
  EXPECT_EQ(irr(), 0x00) << "the edges";
  EXPECT_EQ(isr(), 0x00);
  EXPECT_EQ(inb(0x21), 0x00);
  pulse(3);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, NeedsNeitherIcw3NorIcw4IfIcw1SaysSo) {
  outb(0x12, 0x20);  // single, no ICW4
  outb(0x47, 0x21);
  outb(0xfe, 0x21);
  EXPECT_EQ(inb(0x21), 0xfe) << "the mask already";
  raise(0);
  EXPECT_EQ(pic.acknowledge(), 0x40);
}

TEST_F(PicTest, ReadsTheRequestsAfterInitialisationAndTheChosenRegisterFromThenOn) {
  raise(4);
  EXPECT_EQ(inb(0x20), 0x10);
  pic.acknowledge();
  outb(0x0b, 0x20);
  EXPECT_EQ(inb(0x20), 0x10);
  EXPECT_EQ(inb(0x20), 0x10);
  outb(0x68, 0x20);  // an OCW3 that chooses nothing
  EXPECT_EQ(inb(0x20), 0x10);
}

TEST(PicReset, MasksEverything) {
  bus::IrqLine intr{"INTR"};
  PicPair pic{intr};
  for (unsigned input = 0; input < 18; ++input) pic.set_input(input, true);
  EXPECT_FALSE(intr.asserted());
}

// Intel MultiProcessor Specification 1.4, 3.6.2.2: the PIC's interrupts through LINT0.
TEST(VirtualWireMode, GivesThePicsVectorToTheCpu) {
  test::TestPc pc;
  pc.outb(0x11, 0x20);
  pc.outb(0x30, 0x21);
  pc.outb(0x04, 0x21);
  pc.outb(0x01, 0x21);
  pc.outb(0xef, 0x21);  // all masked but 4
  bus::IrqDriver device{pc.pc.irq(4), "device"};
  device.raise();
  EXPECT_EQ(pc.take(), 0x34);
  EXPECT_EQ(pc.apic(spec::apic_register::isr + 0x10), 0u) << "the APIC does not serve it";
  EXPECT_FALSE(pc.intr());
  pc.outb(0x20, 0x20);
  device.lower();
  device.raise();
  pc.set_apic(spec::apic_register::lvt_lint0, 0x1'0700);
  EXPECT_FALSE(pc.intr()) << "masked";
  pc.set_apic(spec::apic_register::lvt_lint0, 0x700);
  EXPECT_EQ(pc.take(), 0x34);
}

}  // namespace
}  // namespace cbit::chipset
