// Expected values are those of the National Semiconductor PC16550D datasheet.
#include "chipset/uart.hpp"

#include <gtest/gtest.h>

#include <string>

#include "support/test_pc.hpp"

namespace cbit::chipset {
namespace {

enum : std::uint16_t { rbr = 0, ier = 1, iir = 2, fcr = 2, lcr = 3, mcr = 4, lsr = 5, msr = 6, scr = 7 };

struct UartTest : testing::Test {
  UartTest() { uart.set_peer(&peer); }
  std::uint8_t in(std::uint16_t port) { return static_cast<std::uint8_t>(uart.read(port, 1)); }
  void out(std::uint16_t port, unsigned value) { uart.write(port, 1, value); }
  // As a driver opens it: FIFOs on, trigger at 8, receive interrupt, DTR, RTS, OUT2.
  void open() {
    out(lcr, 0x03);
    out(fcr, 0x81);
    out(mcr, 0x0b);
    out(ier, 0x01);
    in(msr);
  }
  void loop_back() {
    out(lcr, 0x03);
    out(mcr, 0x10);
  }

  struct Edges final : bus::IrqInput {
    void set_input(unsigned, bool high) override { count += high; }
    int count = 0;
  } edges;
  bus::IrqLine irq{"IRQ 4"};
  Uart uart{irq, "com1"};
  test::RecordingPeer peer;
};

TEST_F(UartTest, TransmitsAtOnce) {
  out(lcr, 0x03);
  EXPECT_EQ(in(lsr), 0x60);
  for (const char c : std::string{"hello"}) out(rbr, static_cast<unsigned char>(c));
  EXPECT_EQ(peer.output, "hello");
  EXPECT_EQ(in(lsr), 0x60);
}

TEST_F(UartTest, TransmitsOnlyTheBitsOfAWord) {
  out(lcr, 0x00);
  out(rbr, 0xff);
  out(lcr, 0x02);
  out(rbr, 0xff);
  EXPECT_EQ(peer.output, "\x1f\x7f");
}

TEST_F(UartTest, HasADivisorBehindItsLatchBit) {
  out(lcr, 0x83);
  out(rbr, 0x0c);
  out(ier, 0x01);
  EXPECT_EQ(in(rbr), 0x0c);
  EXPECT_EQ(in(ier), 0x01);
  out(lcr, 0x03);
  EXPECT_EQ(in(ier), 0x00);
  EXPECT_EQ(peer.output, "");
}

TEST_F(UartTest, KeepsTheScratchRegisterAndDropsBitsThatDoNotExist) {
  out(scr, 0xa5);
  EXPECT_EQ(in(scr), 0xa5);
  out(ier, 0xff);
  EXPECT_EQ(in(ier), 0x0f);
  out(mcr, 0xff);
  EXPECT_EQ(in(mcr), 0x1f);
}

TEST_F(UartTest, ReceivesWhenTheGuestHasOpenedIt) {
  peer.input = "abc";
  uart.input_available();
  out(lcr, 0x03);
  out(mcr, 0x0b);
  EXPECT_EQ(in(lsr) & 1, 0) << "no receive interrupt yet";
  open();
  EXPECT_TRUE(irq.asserted());
  EXPECT_EQ(in(iir), 0xcc) << "fewer than the trigger level: time-out";
  EXPECT_EQ(in(rbr), 'a');
  EXPECT_EQ(in(lsr), 0x61);
  EXPECT_EQ(in(rbr), 'b');
  EXPECT_EQ(in(rbr), 'c');
  EXPECT_EQ(in(lsr), 0x60);
  EXPECT_EQ(in(iir), 0xc1);
  EXPECT_FALSE(irq.asserted());
}

TEST_F(UartTest, LeavesWithThePeerWhatDoesNotFit) {
  open();
  peer.input = std::string(40, 'x') + "!";
  uart.input_available();
  EXPECT_EQ(peer.input.size(), 25u);
  EXPECT_EQ(in(iir), 0xc4);
  std::string received;
  while ((in(lsr) & 1) != 0) received += static_cast<char>(in(rbr));
  EXPECT_EQ(received, std::string(40, 'x') + "!");
  EXPECT_EQ(in(lsr), 0x60) << "nothing was overrun";
}

TEST_F(UartTest, MakesANewEdgeWhenTheReceiverFillsAgain) {
  open();
  irq.connect(edges, 0);
  peer.input = std::string(32, 'x');
  uart.input_available();
  EXPECT_EQ(edges.count, 1);
  for (int i = 0; i < 16; ++i) in(rbr);
  EXPECT_GE(edges.count, 2);
}

TEST_F(UartTest, PausesThePeerByRtsAndDtr) {
  open();
  out(mcr, 0x09);
  peer.input = "a";
  uart.input_available();
  EXPECT_EQ(in(lsr) & 1, 0);
  out(mcr, 0x0b);
  EXPECT_EQ(in(lsr) & 1, 1);
}

TEST(PolledUart, ReceivesWithoutInterruptsIfItDoesNotWait) {
  bus::IrqLine irq{"IRQ 4"};
  Uart uart{irq, "com1", false};
  test::RecordingPeer peer;
  uart.set_peer(&peer);
  peer.input = "ab";
  uart.write(mcr, 1, 0x03);
  EXPECT_EQ(uart.read(lsr, 1), 0x61u);
  EXPECT_EQ(uart.read(rbr, 1), 'a') << "one byte, without FIFOs";
  EXPECT_EQ(uart.read(rbr, 1), 'b');
  EXPECT_EQ(uart.read(lsr, 1), 0x60u);
}

TEST_F(UartTest, ReportsAnEmptyTransmitterOnce) {
  out(mcr, 0x08);
  out(ier, 0x02);
  EXPECT_TRUE(irq.asserted());
  EXPECT_EQ(in(iir), 0x02);
  EXPECT_FALSE(irq.asserted()) << "reading IIR ends it";
  EXPECT_EQ(in(iir), 0x01);
  out(rbr, 'x');
  EXPECT_EQ(in(iir), 0x02);
  out(ier, 0x00);
  out(ier, 0x02);
  EXPECT_EQ(in(iir), 0x02) << "enabling it with an empty transmitter reports it";
}

// Table IV.
TEST_F(UartTest, ReportsTheInterruptOfHighestPriority) {
  out(lcr, 0x03);
  out(fcr, 0x01);
  out(mcr, 0x1f);
  out(ier, 0x0f);
  for (int i = 0; i < 17; ++i) out(rbr, i);
  EXPECT_EQ(in(iir), 0xc6);
  EXPECT_EQ(in(lsr), 0x63) << "overrun";
  EXPECT_EQ(in(iir), 0xc4);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(in(rbr), i) << "the last one is lost";
  EXPECT_EQ(in(iir), 0xc2);
  EXPECT_EQ(in(iir), 0xc0);
  in(msr);
  EXPECT_EQ(in(iir), 0xc1);
}

TEST_F(UartTest, HasTriggerLevels) {
  loop_back();
  out(ier, 0x01);
  const std::pair<unsigned, unsigned> rows[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
  for (const auto& [control, trigger] : rows) {
    out(fcr, control | 0x02);
    for (unsigned i = 1; i <= 16; ++i) {
      out(rbr, i);
      EXPECT_EQ(in(iir), i >= trigger ? 0xc4 : 0xcc);
    }
  }
}

TEST_F(UartTest, ClearsItsFifosWhenTheyAreSwitchedAndWhenItIsTold) {
  loop_back();
  out(rbr, 1);
  out(fcr, 0x01);
  EXPECT_EQ(in(lsr) & 1, 0);
  EXPECT_EQ(in(iir), 0xc1);
  out(rbr, 1);
  out(fcr, 0x03);
  EXPECT_EQ(in(lsr) & 1, 0);
  out(rbr, 1);
  out(fcr, 0x02);  // counts only with bit 0, but that switches
  EXPECT_EQ(in(lsr) & 1, 0);
  EXPECT_EQ(in(iir), 0x01);
}

TEST_F(UartTest, OverwritesItsOnlyByteWithoutFifos) {
  loop_back();
  out(rbr, 'a');
  out(rbr, 'b');
  EXPECT_EQ(in(lsr), 0x63);
  EXPECT_EQ(in(lsr), 0x61);
  EXPECT_EQ(in(rbr), 'b');
}

TEST_F(UartTest, LoopsItsModemLinesBack) {
  in(msr);
  EXPECT_EQ(in(msr), 0xb0) << "CTS, DSR and DCD of the peer";
  out(mcr, 0x1a);
  EXPECT_EQ(in(msr) & 0xf0, 0x90);  // DCD from OUT2, CTS from RTS
  out(mcr, 0x15);
  EXPECT_EQ(in(msr), 0x6b) << "RI from OUT1, DSR from DTR, and what changed";
  out(mcr, 0x10);
  EXPECT_EQ(in(msr), 0x06) << "RI fell";
  out(mcr, 0x00);
  EXPECT_EQ(in(msr), 0xbb);
  EXPECT_EQ(in(msr), 0xb0);
  EXPECT_EQ(peer.output, "");
}

TEST_F(UartTest, SeesItsOwnBreak) {
  loop_back();
  out(fcr, 0x01);
  out(lcr, 0x43);
  EXPECT_EQ(in(lsr), 0xf1);
  EXPECT_EQ(in(lsr) & 0x10, 0);
  EXPECT_EQ(in(rbr), 0);
  EXPECT_EQ(in(lsr), 0x60);
}

TEST_F(UartTest, InterruptsOnlyThroughOut2) {
  out(ier, 0x02);
  EXPECT_FALSE(irq.asserted());
  out(mcr, 0x08);
  EXPECT_TRUE(irq.asserted());
  out(mcr, 0x18);
  EXPECT_FALSE(irq.asserted()) << "which is inactive in loopback";
}

TEST_F(UartTest, ShowsNoModemLinesOfNobody) {
  uart.set_peer(nullptr);
  in(msr);
  EXPECT_EQ(in(msr), 0x00);
  out(rbr, 'x');
  EXPECT_EQ(peer.output, "");
}

TEST_F(UartTest, FlushesThePeer) {
  uart.flush();
  EXPECT_EQ(peer.flushes, 1);
}

TEST_F(UartTest, ForgetsItsStateWithAReset) {
  open();
  out(scr, 1);
  peer.input = "abc";
  uart.input_available();
  uart.reset();
  EXPECT_FALSE(irq.asserted());
  for (const std::uint16_t port : {ier, lcr, mcr, scr}) EXPECT_EQ(in(port), 0) << port;
  EXPECT_EQ(in(iir), 0x01);
  EXPECT_EQ(in(lsr), 0x60);
  EXPECT_EQ(in(msr), 0xb0);
}

}  // namespace
}  // namespace cbit::chipset
