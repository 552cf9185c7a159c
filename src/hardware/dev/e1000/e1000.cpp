#include "dev/e1000/e1000.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace cbit::dev {

namespace e1000 = spec::e1000;

namespace {

constexpr std::uint32_t phy_address = 1;
constexpr std::uint32_t ring_bits = 0xffff;  // of a head and a tail
constexpr std::uint32_t length_bits = 0x000f'ff80;
constexpr std::uint32_t base_bits = ~std::uint32_t{0xf};

// What software may write without more happening.
struct Writable {
  std::uint32_t first;
  std::uint32_t last;
  std::uint32_t bits = ~std::uint32_t{0};
};
constexpr Writable writable[] = {
    {e1000::reg::ctrl_ext, e1000::reg::ctrl_ext},
    {e1000::reg::fcal, e1000::reg::vet},
    {e1000::reg::itr, e1000::reg::itr, 0xffff},
    {e1000::reg::rctl, e1000::reg::rctl},
    {e1000::reg::fcttv, e1000::reg::txcw},
    {e1000::reg::tctl, e1000::reg::tctl},
    {e1000::reg::tipg, e1000::reg::tipg},
    {e1000::reg::ait, e1000::reg::ait},
    {e1000::reg::ledctl, e1000::reg::ledctl},
    {e1000::reg::pba, e1000::reg::pba, 0xffff},
    {e1000::reg::fcrtl, e1000::reg::fcrth},
    {e1000::reg::rdbal, e1000::reg::rdbal, base_bits},
    {e1000::reg::rdbah, e1000::reg::rdbah},
    {e1000::reg::rdlen, e1000::reg::rdlen, length_bits},
    {e1000::reg::rdh, e1000::reg::rdh, ring_bits},
    {e1000::reg::rdt, e1000::reg::rdt, ring_bits},
    {e1000::reg::rdtr, e1000::reg::radv},
    {e1000::reg::tdbal, e1000::reg::tdbal, base_bits},
    {e1000::reg::tdbah, e1000::reg::tdbah},
    {e1000::reg::tdlen, e1000::reg::tdlen, length_bits},
    {e1000::reg::tdh, e1000::reg::tdh, ring_bits},
    {e1000::reg::tdt, e1000::reg::tdt, ring_bits},
    {e1000::reg::tidv, e1000::reg::tadv},
    {e1000::reg::rxcsum, e1000::reg::rxcsum},
    {e1000::reg::mta, e1000::reg::mta + 4 * (e1000::mta_words - 1)},
    {e1000::reg::ral, e1000::reg::ral + 8 * e1000::ra_pairs - 4},
    {e1000::reg::vfta, e1000::reg::vfta + 4 * (e1000::vfta_words - 1)},
    {e1000::reg::wuc, e1000::reg::manc},
};

bus::DmaPortConfig with_32_lines(bus::DmaPortConfig port) {
  port.address_bits = std::min(port.address_bits, E1000::address_bits);
  return port;
}

}  // namespace

E1000::E1000(bus::SystemBus& bus, bus::DmaPortConfig port, const E1000Options& options, Clock* clock)
    : port_{bus, with_32_lines(std::move(port))},
      network_{options.net.network},
      eeprom_{options.net.mac.value_or(default_mac)},
      phy_{network_ != nullptr} {
  if (clock != nullptr) more_.emplace(*clock, [this] { transmit(); });
  reset();
  if (network_ != nullptr) network_->connect(this);
}

E1000::~E1000() {
  if (network_ != nullptr) network_->connect(nullptr);
}

void E1000::reset() {
  if (more_) more_->stop();
  registers_ = {};
  at(e1000::reg::ctrl) = e1000::ctrl::fd | e1000::ctrl::slu | e1000::ctrl::speed_1000;
  at(e1000::reg::pba) = 0x0010'0030;
  // 13.5.2: the first address is that of the EEPROM.
  at(e1000::reg::ral) = static_cast<std::uint32_t>(eeprom_.word(0) | eeprom_.word(1) << 16);
  at(e1000::reg::ral + 4) = eeprom_.word(2) | e1000::ra_valid;
  context_ = {};
  packet_.clear();
  packet_begun_ = false;
  phy_.reset();
  update_interrupt();
}

// ---- registers ------------------------------------------------------------------------------------------

Result<void> E1000::read(std::uint64_t offset, ByteSpan to) {
  std::ranges::fill(to, std::byte{0});
  if (to.size() == sizeof(std::uint32_t) && offset % sizeof(std::uint32_t) == 0)
    store(to, 0, get(static_cast<std::uint32_t>(offset)));
  return {};
}

Result<void> E1000::write(std::uint64_t offset, ConstByteSpan from) {
  if (from.size() == sizeof(std::uint32_t) && offset % sizeof(std::uint32_t) == 0)
    set(static_cast<std::uint32_t>(offset), load<std::uint32_t>(from));
  return {};
}

std::uint32_t E1000::Ports::read(std::uint16_t offset, unsigned bytes) {
  if (bytes != 4) return 0;
  if (offset == 0) return address_;
  return offset == 4 && address_ % 4 == 0 ? owner_->get(address_) : 0;
}

void E1000::Ports::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  if (bytes != 4) return;
  if (offset == 0) address_ = value;
  if (offset == 4 && address_ % 4 == 0) owner_->set(address_, value);
}

std::uint32_t E1000::get(std::uint32_t reg) {
  if (reg >= e1000::registers_end) return 0;
  if (reg >= e1000::reg::statistics && reg < e1000::reg::statistics_end) return std::exchange(at(reg), 0);
  switch (reg) {
    case e1000::reg::status:
      return e1000::status::fd | e1000::status::speed_1000 | (network_ != nullptr ? e1000::status::lu : 0);
    case e1000::reg::eecd: return eeprom_.wires();
    case e1000::reg::icr: {
      const std::uint32_t causes = std::exchange(at(e1000::reg::icr), 0);
      update_interrupt();
      return causes;
    }
    case e1000::reg::ctrl_dup: return at(e1000::reg::ctrl);
    default: return at(reg);
  }
}

void E1000::set(std::uint32_t reg, std::uint32_t value) {
  switch (reg) {
    case e1000::reg::ctrl:
    case e1000::reg::ctrl_dup: return set_control(value);
    case e1000::reg::eecd: return eeprom_.drive(value);
    case e1000::reg::eerd:
      if ((value & e1000::eerd::start) != 0)
        at(e1000::reg::eerd) = (value & 0xff00) | e1000::eerd::done |
                               std::uint32_t{eeprom_.word(value >> e1000::eerd::address_shift & 0xff)}
                                   << e1000::eerd::data_shift;
      return;
    case e1000::reg::mdic: return access_phy(value);
    case e1000::reg::icr: at(e1000::reg::icr) &= ~value; return update_interrupt();
    case e1000::reg::ics: return cause(value & e1000::interrupt::all);
    case e1000::reg::ims: at(e1000::reg::ims) |= value & e1000::interrupt::all; return update_interrupt();
    case e1000::reg::imc: at(e1000::reg::ims) &= ~value; return update_interrupt();
    default: break;
  }
  const auto* const row = std::ranges::find_if(
      writable, [reg](const Writable& one) { return one.first <= reg && reg <= one.last; });
  if (row == std::end(writable)) return;
  at(reg) = value & row->bits;
  if (reg == e1000::reg::tdt || reg == e1000::reg::tctl) transmit();
  if ((reg == e1000::reg::rdt || reg == e1000::reg::rctl) && network_ != nullptr) network_->has_room();
}

void E1000::set_control(std::uint32_t value) {
  if ((value & e1000::ctrl::rst) != 0) return reset();
  if ((value & e1000::ctrl::phy_rst) != 0) phy_.reset();
  at(e1000::reg::ctrl) = value & ~e1000::ctrl::phy_rst;
}

void E1000::access_phy(std::uint32_t command) {
  const unsigned number = command >> e1000::mdic::register_shift & 0x1f;
  std::uint32_t result = command | e1000::mdic::ready;
  if ((command >> e1000::mdic::phy_shift & 0x1f) != phy_address)
    result |= e1000::mdic::error;
  else if ((command & e1000::mdic::op_write) != 0)
    phy_.write(number, static_cast<std::uint16_t>(command));
  else if ((command & e1000::mdic::op_read) != 0)
    result = (result & ~std::uint32_t{0xffff}) | phy_.read(number);
  at(e1000::reg::mdic) = result;
  if ((command & e1000::mdic::interrupt) != 0) cause(e1000::interrupt::mdac);
}

E1000::Ring E1000::ring(std::uint32_t first) const {
  return {.base = std::uint64_t{at(first + 4)} << 32 | at(first),
          .entries = at(first + 8) / 16,
          .head = at(first + 0x10),
          .tail = at(first + 0x18)};
}

void E1000::cause(std::uint32_t interrupts) {
  at(e1000::reg::icr) |= interrupts;
  update_interrupt();
}

void E1000::update_interrupt() {
  const bool wanted = (at(e1000::reg::icr) & at(e1000::reg::ims)) != 0;
  if (std::exchange(interrupt_wanted_, wanted) != wanted && interrupt_) interrupt_(wanted);
}

// Of one direction: good packets, all packets, octets in two registers.
void E1000::count(std::uint32_t packets, std::uint32_t total, std::uint32_t octets, std::size_t bytes) {
  ++at(packets);
  ++at(total);
  const std::uint64_t sum = (std::uint64_t{at(octets + 4)} << 32 | at(octets)) + bytes;
  at(octets) = static_cast<std::uint32_t>(sum);
  at(octets + 4) = static_cast<std::uint32_t>(sum >> 32);
}

bool E1000::is_up() const { return has(e1000::reg::rctl, e1000::rctl::en) && port_.bus_master(); }

}  // namespace cbit::dev
