// The framing of GDB's remote protocol: what comes from a socket in pieces, as packets, and back.
//
// Source: GDB's manual, appendix "GDB Remote Serial Protocol", Overview and Interrupts. Whoever sends may be
// hostile: what is not framed is dropped, and of a packet that is too long nothing is kept. Threading: one
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace cbit::gdb {

// Of what is between $ and #, either way.
inline constexpr std::size_t packet_bytes_max = 0x4000;

struct Arrival {
  enum class Kind : std::uint8_t {
    packet,
    damaged,    // the checksum is wrong, or the packet was too long
    refused,    // the other side wants the last packet once more
    interrupt,  // Ctrl-C
  };
  Kind kind{};
  std::string data;  // of a packet, unescaped

  friend bool operator==(const Arrival&, const Arrival&) = default;
};

class PacketReader {
 public:
  // What this byte completes.
  std::optional<Arrival> take(char byte);

 private:
  enum class Place : std::uint8_t { between, in_packet, first_digit, second_digit };
  std::optional<Arrival> begin(char byte);
  void take_data(char byte);
  std::optional<Arrival> finish(char digit);

  Place place_ = Place::between;
  std::string data_;
  bool escaped_ = false;
  bool too_long_ = false;
  std::uint8_t sum_ = 0;
  char first_digit_ = 0;
};

// "$...#sum"; data is escaped where that must be.
[[nodiscard]] std::string frame(std::string_view data);

// Bytes of hex digits; nullopt: they are none, or an odd number.
[[nodiscard]] std::optional<Bytes> from_hex(std::string_view digits);
[[nodiscard]] std::string to_hex(std::string_view text);

}  // namespace cbit::gdb
