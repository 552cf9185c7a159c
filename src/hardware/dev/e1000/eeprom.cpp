#include "dev/e1000/eeprom.hpp"

#include <numeric>
#include <utility>

namespace cbit::dev {
namespace {

namespace e1000 = spec::e1000;

// Words of 5.6.
constexpr unsigned subsystem_id = 0x0b;
constexpr unsigned subsystem_vendor = 0x0c;
constexpr unsigned device_id = 0x0d;
constexpr unsigned vendor_id = 0x0e;
constexpr unsigned checksum = 0x3f;

// A start bit, two of the operation, six of the address.
constexpr unsigned address_bits = 6;
constexpr unsigned full_command = 1u << (address_bits + 2);
constexpr unsigned read_operation = 0b110;

}  // namespace

E1000Eeprom::E1000Eeprom(const MacAddress& mac) {
  for (unsigned i = 0; i < mac.size() / 2; ++i)
    words_[i] = static_cast<std::uint16_t>(mac[2 * i] | mac[2 * i + 1] << 8);
  words_[subsystem_vendor] = words_[vendor_id] = e1000::vendor;
  words_[subsystem_id] = words_[device_id] = e1000::device;
  words_[checksum] =
      static_cast<std::uint16_t>(e1000::eeprom_sum - std::accumulate(words_.begin(), words_.end(), 0u));
}

void E1000Eeprom::drive(std::uint32_t wires) {
  const std::uint32_t before =
      std::exchange(wires_, wires & (e1000::eecd::sk | e1000::eecd::cs | e1000::eecd::di | e1000::eecd::req));
  if ((wires & e1000::eecd::cs) == 0) {
    command_ = 0;
    answering_ = false;
    out_ = true;
  } else if ((wires & ~before & e1000::eecd::sk) != 0) {
    clock_in((wires & e1000::eecd::di) != 0);
  }
}

// Zeros before the start bit mean nothing.
void E1000Eeprom::clock_in(bool bit) {
  if (answering_) {
    out_ = (answer_ & 0x8000) != 0;
    answer_ = static_cast<std::uint16_t>(answer_ << 1);
    return;
  }
  command_ = command_ << 1 | (bit ? 1u : 0u);
  if (command_ < full_command) return;
  answering_ = true;
  const bool is_read = command_ >> address_bits == read_operation;
  answer_ = is_read ? word(command_) : std::uint16_t{0xffff};
  out_ = false;
}

std::uint32_t E1000Eeprom::wires() const {
  return wires_ | e1000::eecd::pres | ((wires_ & e1000::eecd::req) != 0 ? e1000::eecd::gnt : 0) |
         (out_ ? e1000::eecd::data_out : 0);
}

}  // namespace cbit::dev
