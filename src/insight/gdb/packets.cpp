#include "gdb/packets.hpp"

#include <fmt/format.h>

namespace cbit::gdb {
namespace {

constexpr char interrupt_byte = '\x03';
constexpr char escape = '}';
constexpr char escape_mask = 0x20;

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<Arrival> PacketReader::take(char byte) {
  switch (place_) {
    case Place::between: return begin(byte);
    case Place::in_packet: take_data(byte); return std::nullopt;
    case Place::first_digit:
      first_digit_ = byte;
      place_ = Place::second_digit;
      return std::nullopt;
    case Place::second_digit: place_ = Place::between; return finish(byte);
  }
  return std::nullopt;
}

std::optional<Arrival> PacketReader::begin(char byte) {
  if (byte == interrupt_byte) return Arrival{Arrival::Kind::interrupt, {}};
  if (byte == '-') return Arrival{Arrival::Kind::refused, {}};
  if (byte != '$') return std::nullopt;
  place_ = Place::in_packet;
  data_.clear();
  escaped_ = too_long_ = false;
  sum_ = 0;
  return std::nullopt;
}

void PacketReader::take_data(char byte) {
  if (byte == '#') {
    place_ = Place::first_digit;
    return;
  }
  sum_ = static_cast<std::uint8_t>(sum_ + static_cast<unsigned char>(byte));
  if (!escaped_ && byte == escape) {
    escaped_ = true;
    return;
  }
  if (escaped_) byte = static_cast<char>(byte ^ escape_mask);
  escaped_ = false;
  too_long_ = too_long_ || data_.size() == packet_bytes_max;
  if (!too_long_) data_ += byte;
}

std::optional<Arrival> PacketReader::finish(char digit) {
  const int high = digit_value(first_digit_), low = digit_value(digit);
  if (too_long_ || high < 0 || low < 0 || high * 16 + low != sum_) return Arrival{Arrival::Kind::damaged, {}};
  return Arrival{Arrival::Kind::packet, std::move(data_)};
}

std::string frame(std::string_view data) {
  std::string text = "$";
  for (const char c : data) {
    if (c == '$' || c == '#' || c == escape || c == '*') {
      text += escape;
      text += static_cast<char>(c ^ escape_mask);
    } else {
      text += c;
    }
  }
  unsigned sum = 0;
  for (const char c : std::string_view{text}.substr(1)) sum += static_cast<unsigned char>(c);
  return text + fmt::format("#{:02x}", sum & 0xff);
}

std::optional<Bytes> from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(digits.size() / 2);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int high = digit_value(digits[i]), low = digit_value(digits[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::string to_hex(std::string_view text) { return cbit::to_hex(std::as_bytes(std::span{text})); }

}  // namespace cbit::gdb
