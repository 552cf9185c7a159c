#include "chipset/uart.hpp"

#include <utility>

namespace cbit::chipset {
namespace {

// Interrupts by their IIR, highest first. PC16550D table IV.
constexpr std::uint8_t iir_line_status = 0x06;
constexpr std::uint8_t iir_data_available = 0x04;
constexpr std::uint8_t iir_timeout = 0x0c;
constexpr std::uint8_t iir_transmitter_empty = 0x02;
constexpr std::uint8_t iir_modem_status = 0x00;
constexpr std::uint8_t iir_none = 0x01;
constexpr std::uint8_t iir_fifos = 0xc0;

constexpr std::array<std::size_t, 4> trigger_bytes{1, 4, 8, 14};

}  // namespace

Uart::Uart(bus::IrqLine& irq, std::string name, bool input_waits)
    : irq_{irq, std::move(name)}, input_waits_{input_waits} {
  reset();
}

void Uart::reset() {
  ier_ = {};
  fcr_ = {};
  lcr_ = {};
  mcr_ = {};
  scratch_ = 0;
  divisor_ = 0;
  received_.clear();
  overrun_ = break_ = transmitter_pending_ = false;
  set_peer(peer_);
  msr_.raw &= 0xf0;
  update();
}

void Uart::set_peer(SerialPeer* peer) {
  peer_ = peer;
  if (!loop()) write_modem_control(mcr_.raw);
  pull();
  update();
}

void Uart::input_available() {
  pull();
  update();
}

void Uart::flush() {
  if (peer_ != nullptr) peer_->flush();
}

std::uint32_t Uart::read(std::uint16_t offset, unsigned) {
  std::uint8_t value = 0;
  switch (offset) {
    case data: value = divisor_latch() ? static_cast<std::uint8_t>(divisor_) : read_data(); break;
    case interrupt_enable:
      value = divisor_latch() ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_.raw;
      break;
    case interrupt_id: value = read_interrupt_id(); break;
    case line_control: value = lcr_.raw; break;
    case modem_control: value = mcr_.raw; break;
    case line_status: value = read_line_status(); break;
    case modem_status: value = read_modem_status(); break;
    default: value = scratch_; break;
  }
  update();
  return value;
}

void Uart::write(std::uint16_t offset, unsigned, std::uint32_t wide) {
  const auto value = static_cast<std::uint8_t>(wide);
  switch (offset) {
    case data:
      if (divisor_latch())
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
      else
        write_data(value);
      break;
    case interrupt_enable:
      if (divisor_latch()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff) | value << 8);
        break;
      }
      // An empty transmitter is an interrupt as soon as that is enabled.
      if (!ier_.get<Ier::TransmitterEmpty>()) transmitter_pending_ = true;
      ier_.raw = value & 0xf;
      break;
    case interrupt_id: write_fifo_control(value); break;
    case line_control: {
      const bool had_break = lcr_.get<Lcr::Break>();
      lcr_.raw = value;
      if (loop() && lcr_.get<Lcr::Break>() && !had_break) receive({0, true});
      break;
    }
    case modem_control: write_modem_control(value); break;
    case scratch: scratch_ = value; break;
    default: break;  // the status registers are written in factory tests only
  }
  pull();
  update();
}

std::uint8_t Uart::read_data() {
  if (received_.empty()) return 0;
  const std::uint8_t byte = received_.front().byte;
  received_.pop_front();
  break_ = !received_.empty() && received_.front().is_break;
  update();
  pull();
  return byte;
}

void Uart::write_data(std::uint8_t value) {
  const auto byte = static_cast<std::uint8_t>(value & (0xff >> (3 - lcr_.get<Lcr::WordLength>())));
  if (loop())
    receive({byte});
  else if (peer_ != nullptr)
    peer_->transmit(std::byte{byte});
  // The transmitter is full, and empty again: a new edge.
  transmitter_pending_ = false;
  update();
  transmitter_pending_ = true;
}

std::uint8_t Uart::read_line_status() {
  bool break_in_fifo = false;
  for (const Received& received : received_) break_in_fifo |= fifos() && received.is_break;
  return Lsr{}
      .with<Lsr::FifoError>(break_in_fifo)
      .with<Lsr::TransmitterIdle>(true)
      .with<Lsr::TransmitterEmpty>(true)
      .with<Lsr::Break>(std::exchange(break_, false))
      .with<Lsr::Overrun>(std::exchange(overrun_, false))
      .with<Lsr::DataReady>(!received_.empty())
      .raw;
}

std::uint8_t Uart::read_modem_status() {
  const std::uint8_t value = msr_.raw;
  msr_.raw &= 0xf0;
  return value;
}

std::uint8_t Uart::read_interrupt_id() {
  const std::uint8_t id = pending();
  if (id == iir_transmitter_empty) transmitter_pending_ = false;
  return fifos() ? id | iir_fifos : id;
}

void Uart::write_fifo_control(std::uint8_t value) {
  const Fcr next{{value}};
  const bool switches = next.get<Fcr::Enable>() != fifos();
  if (switches || (next.get<Fcr::Enable>() && next.get<Fcr::ClearReceiver>())) {
    received_.clear();
    break_ = false;
  }
  // Other bits count only with the first, and the ones that clear clear themselves.
  fcr_ = next.get<Fcr::Enable>() ? next.with<Fcr::ClearReceiver>(false).with<Fcr::ClearTransmitter>(false)
                                 : Fcr{};
}

void Uart::write_modem_control(std::uint8_t value) {
  mcr_.raw = value & 0x1f;
  Msr lines{};
  if (loop()) {
    lines = lines.with<Msr::Dcd>(mcr_.get<Mcr::Out2>())
                .with<Msr::Ri>(mcr_.get<Mcr::Out1>())
                .with<Msr::Dsr>(mcr_.get<Mcr::Dtr>())
                .with<Msr::Cts>(mcr_.get<Mcr::Rts>());
  } else if (peer_ != nullptr) {
    lines = lines.with<Msr::Dcd>(true).with<Msr::Dsr>(true).with<Msr::Cts>(true);
  }
  set_modem_lines(lines.raw);
}

void Uart::set_modem_lines(std::uint8_t lines) {
  const Msr before = msr_;
  const Msr changed{{static_cast<std::uint8_t>(before.raw ^ lines)}};
  msr_.raw = static_cast<std::uint8_t>(lines | (before.raw & 0xf));
  if (changed.get<Msr::Dcd>()) msr_ = msr_.with<Msr::DeltaDcd>(true);
  if (changed.get<Msr::Ri>() && before.get<Msr::Ri>()) msr_ = msr_.with<Msr::TrailingRi>(true);
  if (changed.get<Msr::Dsr>()) msr_ = msr_.with<Msr::DeltaDsr>(true);
  if (changed.get<Msr::Cts>()) msr_ = msr_.with<Msr::DeltaCts>(true);
}

// What does not fit overwrites the byte in the shift register, or without FIFOs the one before.
void Uart::receive(Received received) {
  const std::size_t room = fifos() ? fifo_bytes : 1;
  if (received_.size() >= room) {
    overrun_ = true;
    if (fifos()) return;
    received_.clear();
  }
  received_.push_back(received);
  if (received_.size() == 1) break_ = received.is_break;
}

void Uart::pull() {
  if (!received_.empty()) return;
  const bool may_send = peer_ != nullptr && !loop() && mcr_.get<Mcr::Dtr>() && mcr_.get<Mcr::Rts>() &&
                        (!input_waits_ || ier_.get<Ier::DataAvailable>());
  const std::size_t room = fifos() ? fifo_bytes : 1;
  while (may_send && received_.size() < room) {
    const auto byte = peer_->receive();
    if (!byte) return;
    receive({std::to_integer<std::uint8_t>(*byte)});
  }
}

std::uint8_t Uart::pending() const {
  if (ier_.get<Ier::LineStatus>() && (overrun_ || break_)) return iir_line_status;
  if (ier_.get<Ier::DataAvailable>() && !received_.empty()) {
    const std::size_t trigger = fifos() ? trigger_bytes[fcr_.get<Fcr::Trigger>()] : 1;
    return received_.size() >= trigger ? iir_data_available : iir_timeout;
  }
  if (ier_.get<Ier::TransmitterEmpty>() && transmitter_pending_) return iir_transmitter_empty;
  if (ier_.get<Ier::ModemStatus>() && (msr_.raw & 0xf) != 0) return iir_modem_status;
  return iir_none;
}

void Uart::update() {
  // In loopback the OUT2 pin is inactive, whatever the register says.
  irq_.set(pending() != iir_none && mcr_.get<Mcr::Out2>() && !loop());
}

void Uart::transfer(StateStream& s) {
  s(irq_, ier_, fcr_, lcr_, mcr_, msr_, scratch_, divisor_);
  s.list(received_, fifo_bytes);
  s(overrun_, break_, transmitter_pending_);
}

}  // namespace cbit::chipset
