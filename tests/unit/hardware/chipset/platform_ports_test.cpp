// Ports that reset, end, or debug the machine, and the keyboard controller.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "chipset/keyboard_controller.hpp"
#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

using Calls = std::vector<std::string>;

struct PlatformPortsTest : testing::Test {
  static PcConfig config() {
    PcConfig config;
    config.debug_exit = config.test_ports = true;
    return config;
  }
  // A command to the keyboard controller, and its answer.
  std::uint8_t ask(std::uint8_t command) {
    pc.outb(command, 0x64);
    EXPECT_EQ(pc.inb(0x64) & 3, 1) << "it answers at once, and is ready for more";
    return pc.inb(0x60);
  }
  test::TestPc pc{config()};
};

TEST_F(PlatformPortsTest, ResetWithARisingBitOfTheResetControl) {
  pc.outb(0x02, 0xcf9);
  EXPECT_EQ(pc.platform.calls, Calls{});
  pc.outb(0x06, 0xcf9);
  pc.outb(0x06, 0xcf9);
  EXPECT_EQ(pc.platform.calls, Calls{"reset platform"});
  EXPECT_EQ(pc.inb(0xcf9), 0x06);
  pc.outb(0x00, 0xcf9);
  pc.outb(0x04, 0xcf9);
  EXPECT_EQ(pc.platform.calls, (Calls{"reset platform", "reset cpu"}));
}

TEST_F(PlatformPortsTest, DoNotResetByAnAddressOfPci) {
  pc.ports.write(0xcf8, 4, 0x8000'0600);
  EXPECT_EQ(pc.platform.calls, Calls{});
}

TEST_F(PlatformPortsTest, ResetWithARisingBitOfPortA) {
  EXPECT_EQ(pc.inb(0x92), 0x02) << "A20 is on";
  pc.outb(0x03, 0x92);
  pc.outb(0x03, 0x92);
  EXPECT_EQ(pc.platform.calls, Calls{"reset cpu"});
}

TEST_F(PlatformPortsTest, ResetByThePulseOfTheKeyboardController) {
  pc.outb(0xfe, 0x64);
  EXPECT_EQ(pc.platform.calls, Calls{"reset cpu"});
  pc.outb(0xff, 0x64);
  EXPECT_EQ(pc.platform.calls.size(), 1u) << "pulses nothing";
  pc.outb(0xd1, 0x64);
  pc.outb(0xde, 0x60);
  EXPECT_EQ(pc.platform.calls.size(), 2u) << "by the output port, too";
}

TEST_F(PlatformPortsTest, EndTheMachineWithAStatus) {
  pc.outb(0x00, 0xf4);
  pc.ports.write(0xf4, 4, 0x31);
  EXPECT_EQ(pc.platform.calls, (Calls{"exit 1", "exit 99"}));
}

TEST_F(PlatformPortsTest, WriteTextToTheDebugConsole) {
  EXPECT_EQ(pc.inb(0xe9), 0xe9);
  pc.outb('x', 0xe9);
  test::RecordingPeer peer;
  pc.pc.debug_console().set_peer(&peer);
  pc.outb('h', 0xe9);
  pc.outb('i', 0xe9);
  EXPECT_EQ(peer.output, "hi");
  pc.pc.flush();
  EXPECT_EQ(peer.flushes, 1);
}

TEST(OptionalPorts, ReadOnesWhereTheyAreNotAskedFor) {
  PcConfig config;
  config.debug_console = false;
  test::TestPc pc{config};
  for (const int port : {0xe9, 0xf4, 0xe0, 0x2000}) {
    EXPECT_EQ(pc.inb(static_cast<std::uint16_t>(port)), 0xff) << port;
    pc.outb(1, static_cast<std::uint16_t>(port));
  }
  EXPECT_EQ(pc.platform.calls, Calls{});
}

TEST_F(PlatformPortsTest, RememberThePostCode) {
  pc.outb(0x5a, 0x80);
  EXPECT_EQ(pc.inb(0x80), 0x5a);
}

TEST_F(PlatformPortsTest, HaveTestMemoryOfAnyWidthAndTestInterrupts) {
  pc.ports.write(0xe0, 4, 0x1122'3344);
  pc.outw(0xabcd, 0xe1);
  EXPECT_EQ(pc.inl(0xe0), 0x11ab'cd44u);
  EXPECT_EQ(pc.inb(0xe3), 0x11);
  pc.set_apic(spec::apic_register::svr, 0x1ff);
  pc.set_entry(14, 0x77);
  pc.outb(1, 0x200e);
  EXPECT_EQ(pc.inb(0x200e), 1);
  pc.outb(0, 0x200e);
  EXPECT_EQ(pc.take(), 0x77);
}

TEST_F(PlatformPortsTest, TellTheNumberOfProcessorsAndTheMemory) {
  PcConfig config;
  config.cpus = 3;
  config.rtc.memory_below_4g_bytes = 0x1'2345'0000;
  config.test_ports = true;
  test::TestPc three{config};
  const auto item = [&](std::uint16_t key, int bytes) {
    three.outw(key, 0x510);
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= std::uint64_t{three.inb(0x511)} << 8 * i;
    return value;
  };
  EXPECT_EQ(item(0x00, 4), 0x554d'4551u);  // "QEMU"
  EXPECT_EQ(item(0x05, 2), 3u);
  EXPECT_EQ(item(0x0f, 8), 3u) << "zeros after the end";
  EXPECT_EQ(item(0x03, 8), 0x1'2345'0000u);
  EXPECT_EQ(item(0x19, 4), 0u) << "no files";
}

TEST_F(PlatformPortsTest, AnswerASelfTestAndTheCommandsOfABiosWithoutAKeyboard) {
  EXPECT_EQ(ask(0xaa), 0x55);
  EXPECT_EQ(ask(0xab), 0x00);
  EXPECT_EQ(ask(0x20) & 0x41, 0x40);
  EXPECT_EQ(ask(0xd0), 0x03);
  EXPECT_EQ(ask(0xc0), 0x80);
  EXPECT_EQ(ask(0x21), 0x00);
  pc.outb(0x60, 0x64);
  pc.outb(0x75, 0x60);
  EXPECT_EQ(ask(0x20), 0x75);
  pc.outb(0xae, 0x64);
  EXPECT_EQ(ask(0x20), 0x65);
  pc.outb(0xad, 0x64);
  EXPECT_EQ(ask(0x20), 0x75);
  pc.outb(0xd2, 0x64);
  pc.outb(0x42, 0x60);
  EXPECT_EQ(pc.inb(0x60), 0x42);
}

TEST_F(PlatformPortsTest, ReportATimeOutOfTheKeyboardThatIsMissing) {
  pc.outb(0x60, 0x64);
  pc.outb(0x45, 0x60);  // interrupts on
  pc.outb(0xf2, 0x60);  // to the keyboard: who are you?
  EXPECT_TRUE(pc.pc.irq(1).asserted());
  EXPECT_EQ(pc.inb(0x64) & 0x41, 0x41);
  EXPECT_EQ(pc.inb(0x60), 0xfe);
  EXPECT_FALSE(pc.pc.irq(1).asserted());
  EXPECT_EQ(pc.inb(0x64) & 0x41, 0x00);
}

}  // namespace
}  // namespace cbit::chipset
