// A 16550A serial port of a PC: eight ports at 3F8h (IRQ 4) or 2F8h (IRQ 3).
//
// The line is infinitely fast: what the guest transmits is at the peer at once, so the transmitter is always
// empty and nothing has to be drained. The peer fills the receiver whenever that is empty, so that a guest
// which has read it out sees the interrupt end before the next one begins, an edge; the time-out of a FIFO
// that is not full enough for its trigger level comes at once, too. The peer sends while DTR and RTS are set;
// with `input_waits` it also waits until the receive interrupt is enabled, so that nothing gets lost in a
// driver that clears the FIFOs when it is opened. A guest that polls for input wants that off.
//
// OUT2 switches the interrupt on, as on a PC. Peer to guest, CTS, DSR and DCD are set, RI is not. A break
// that the guest sends is seen in loopback only. Sources: National Semiconductor PC16550D (TL/C/8652), 8;
// what drivers probe: drivers/tty/serial/8250/8250_port.c of Linux 6.1. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"
#include "chipset/serial_peer.hpp"

namespace cbit::chipset {

class Uart final : public bus::PioRegion {
 public:
  static constexpr std::size_t fifo_bytes = 16;
  static constexpr std::uint32_t port_count = 8;

  enum Port : std::uint16_t {
    data = 0,              // RBR, THR; DLL with DLAB
    interrupt_enable = 1,  // IER; DLM with DLAB
    interrupt_id = 2,      // IIR; written: FCR
    line_control = 3,
    modem_control = 4,
    line_status = 5,
    modem_status = 6,
    scratch = 7,
  };
  struct Ier : Register<Ier, std::uint8_t> {
    using ModemStatus = Field<3, 3, bool>;
    using LineStatus = Field<2, 2, bool>;
    using TransmitterEmpty = Field<1, 1, bool>;
    using DataAvailable = Field<0, 0, bool>;
  };
  struct Fcr : Register<Fcr, std::uint8_t> {
    using Trigger = Field<7, 6, unsigned>;  // 1, 4, 8 or 14 bytes
    using DmaMode = Field<3, 3, bool>;
    using ClearTransmitter = Field<2, 2, bool>;
    using ClearReceiver = Field<1, 1, bool>;
    using Enable = Field<0, 0, bool>;
  };
  struct Lcr : Register<Lcr, std::uint8_t> {
    using DivisorLatch = Field<7, 7, bool>;
    using Break = Field<6, 6, bool>;
    using WordLength = Field<1, 0, unsigned>;  // 5 bits and more
  };
  struct Mcr : Register<Mcr, std::uint8_t> {
    using Loop = Field<4, 4, bool>;
    using Out2 = Field<3, 3, bool>;
    using Out1 = Field<2, 2, bool>;
    using Rts = Field<1, 1, bool>;
    using Dtr = Field<0, 0, bool>;
  };
  struct Lsr : Register<Lsr, std::uint8_t> {
    using FifoError = Field<7, 7, bool>;
    using TransmitterIdle = Field<6, 6, bool>;
    using TransmitterEmpty = Field<5, 5, bool>;
    using Break = Field<4, 4, bool>;
    using Overrun = Field<1, 1, bool>;
    using DataReady = Field<0, 0, bool>;
  };
  struct Msr : Register<Msr, std::uint8_t> {
    using Dcd = Field<7, 7, bool>;
    using Ri = Field<6, 6, bool>;
    using Dsr = Field<5, 5, bool>;
    using Cts = Field<4, 4, bool>;
    using DeltaDcd = Field<3, 3, bool>;
    using TrailingRi = Field<2, 2, bool>;
    using DeltaDsr = Field<1, 1, bool>;
    using DeltaCts = Field<0, 0, bool>;
  };

  Uart(bus::IrqLine& irq, std::string name, bool input_waits = true);

  // The MR pin. What the peer has stays with it.
  void reset();
  // nullptr: nobody is there; output is lost.
  void set_peer(SerialPeer* peer);
  void input_available();
  void flush();
  // The peer is the host's, and comes later: set_peer() finds the modem lines as they were.
  void transfer(StateStream& s);

  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

 private:
  struct Received {
    std::uint8_t byte = 0;
    bool is_break = false;
    void transfer(StateStream& s) { s(byte, is_break); }
  };

  [[nodiscard]] bool divisor_latch() const { return lcr_.get<Lcr::DivisorLatch>(); }
  [[nodiscard]] bool loop() const { return mcr_.get<Mcr::Loop>(); }
  [[nodiscard]] bool fifos() const { return fcr_.get<Fcr::Enable>(); }
  [[nodiscard]] std::uint8_t read_data();
  [[nodiscard]] std::uint8_t read_line_status();
  [[nodiscard]] std::uint8_t read_modem_status();
  [[nodiscard]] std::uint8_t read_interrupt_id();
  void write_data(std::uint8_t value);
  void write_fifo_control(std::uint8_t value);
  void write_modem_control(std::uint8_t value);
  void receive(Received received);
  // An empty receiver takes what the peer has, as far as it may send and there is room.
  void pull();
  // Sets the upper half of MSR, and its deltas.
  void set_modem_lines(std::uint8_t lines);
  // Of the highest interrupt that is enabled and pending, bits 3:0 of IIR; 1 if there is none.
  [[nodiscard]] std::uint8_t pending() const;
  void update();

  bus::IrqDriver irq_;
  SerialPeer* peer_ = nullptr;
  bool input_waits_;

  Ier ier_{};
  Fcr fcr_{};
  Lcr lcr_{};
  Mcr mcr_{};
  Msr msr_{};
  std::uint8_t scratch_ = 0;
  std::uint16_t divisor_ = 0;
  std::deque<Received> received_;
  bool overrun_ = false;
  bool break_ = false;                // the byte in front is one, and LSR has not told yet
  bool transmitter_pending_ = false;  // the interrupt of an empty transmitter
};

static_assert(Uart::Fcr{{0xc1}}.get<Uart::Fcr::Trigger>() == 3);
static_assert(Uart::Mcr{{0x10}}.get<Uart::Mcr::Loop>());
static_assert(Uart::Lsr{{0x20}}.get<Uart::Lsr::TransmitterEmpty>());
static_assert(Uart::Msr{{0x10}}.get<Uart::Msr::Cts>());

}  // namespace cbit::chipset
