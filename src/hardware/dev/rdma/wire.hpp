// RDMA packets on the wire: the transport headers of RoCEv2 from the BTH on, big-endian, as in the InfiniBand
// Architecture Specification volume 1, chapter 9. The UDP/IP headers in front are a Frame's two addresses
// (dev/rdma/fabric.hpp); the ICRC behind is left out, for the fabric neither loses nor damages a packet.
//
//   BTH [RETH | AtomicETH | DETH] [AETH [AtomicAckETH]] [ImmDt] [payload, padded to 4 bytes]
//
// parse() is total: any bytes give a Packet or a reason why they are none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "mem/snapshot.hpp"

namespace cbit::dev::rdma {

// BTH:OpCode, bits 7:5 the transport (000 RC, 011 UD). 9.2.1, table 35.
enum class Opcode : std::uint8_t {
  rc_send_first = 0x00,
  rc_send_middle = 0x01,
  rc_send_last = 0x02,
  rc_send_last_imm = 0x03,
  rc_send_only = 0x04,
  rc_send_only_imm = 0x05,
  rc_write_first = 0x06,
  rc_write_middle = 0x07,
  rc_write_last = 0x08,
  rc_write_last_imm = 0x09,
  rc_write_only = 0x0a,
  rc_write_only_imm = 0x0b,
  rc_read_request = 0x0c,
  rc_read_response_first = 0x0d,
  rc_read_response_middle = 0x0e,
  rc_read_response_last = 0x0f,
  rc_read_response_only = 0x10,
  rc_acknowledge = 0x11,
  rc_atomic_acknowledge = 0x12,
  rc_compare_swap = 0x13,
  rc_fetch_add = 0x14,
  ud_send_only = 0x64,
  ud_send_only_imm = 0x65,
};

// What follows the BTH, and where in a message the packet stands.
struct OpcodeInfo {
  Opcode opcode{};
  bool reth = false, atomic = false, deth = false, aeth = false, atomic_ack = false, immediate = false;
  bool payload = false;
  bool first = false, last = false;  // of its message; both: the only packet
  bool response = false;             // goes to the requester
};
// nullptr: reserved, or a transport that the NIC does not have.
[[nodiscard]] const OpcodeInfo* find_opcode(std::uint8_t value);

// AETH:Syndrome. Bits 6:5 tell what it is, table 44; the NAK codes are table 46.
struct Syndrome : Register<Syndrome, std::uint8_t> {
  using Kind = Field<6, 5>;
  using Value = Field<4, 0>;  // ACK: credits; RNR NAK: the timer's code; NAK: the code
};
inline constexpr std::uint8_t syndrome_ack = 0, syndrome_rnr_nak = 1, syndrome_nak = 3;
inline constexpr std::uint8_t no_credits = 0x1f;  // end-to-end flow control is not used

enum class NakCode : std::uint8_t {
  psn_sequence_error = 0,
  invalid_request = 1,
  remote_access_error = 2,
  remote_operational_error = 3,
};

inline constexpr std::uint32_t mask_24_bits = 0xff'ffff;
inline constexpr std::uint16_t default_pkey = 0xffff;

struct Bth {
  Opcode opcode{};
  bool solicited = false;
  std::uint8_t pad_count = 0;  // 0 .. 3
  std::uint16_t pkey = default_pkey;
  std::uint32_t destination_qp = 0;  // 24 bits
  bool ack_request = false;
  std::uint32_t psn = 0;  // 24 bits
};

struct Reth {
  std::uint64_t address = 0;
  std::uint32_t rkey = 0;
  std::uint32_t bytes = 0;
};

struct AtomicEth {
  std::uint64_t address = 0;
  std::uint32_t rkey = 0;
  std::uint64_t swap_or_add = 0;
  std::uint64_t compare = 0;
};

struct Aeth {
  Syndrome syndrome;
  std::uint32_t msn = 0;  // 24 bits
};

struct Deth {
  std::uint32_t qkey = 0;
  std::uint32_t source_qp = 0;  // 24 bits
};

struct Packet {
  Packet() {}  // not defaulted, which would clear what it then fills in

  Bth bth;
  std::optional<Reth> reth;
  std::optional<AtomicEth> atomic;
  std::optional<Deth> deth;
  std::optional<Aeth> aeth;
  std::optional<std::uint64_t> atomic_ack;  // the remote value before the operation
  std::optional<std::uint32_t> immediate;   // in host order here
  ConstByteSpan payload;                    // where it lies: in what was parsed, or with whoever sends it
  std::uint32_t joined = 1;                 // so many of a write, whose payloads lie one behind the other

  [[nodiscard]] const OpcodeInfo& info() const { return *find_opcode(static_cast<std::uint8_t>(bth.opcode)); }
};

enum class ParseError : std::uint8_t {
  too_short,       // ends within a header, or within its padding
  unknown_opcode,  // reserved, or a transport without a queue pair here
  bad_version,     // BTH:TVer is not 0
  bad_padding,     // the payload with its padding is no multiple of 4 bytes, or padding without payload
  trailing_bytes,  // a payload where the opcode has none
};
[[nodiscard]] std::string_view to_string(ParseError error);

// A packet's headers.
struct HeaderBytes {
  static constexpr std::size_t bytes_max = 44;  // a BTH, and an AtomicETH or what else is no longer

  HeaderBytes() {}  // not defaulted, which would clear what is then filled in
  [[nodiscard]] ConstByteSpan bytes() const { return std::span{room}.first(size); }

  std::array<std::byte, bytes_max> room;
  std::uint8_t size = 0;
};

// A packet on its way. What its maker had as bytes is all behind no headers; else the payload, with its
// padding, may lie in the sender's memory still.
struct WirePacket {
  [[nodiscard]] static WirePacket of(UnfilledBytes all) { return {{}, mem::Snapshot{std::move(all)}}; }
  // Into one that is empty: what its opcode asks for must be there; packet.payload is left out. A packet is
  // written where it stays, for bytes that were stored one by one are slow to copy at once.
  void put(const Packet& packet, mem::Snapshot&& payload);
  [[nodiscard]] std::size_t size() const { return headers.bytes().size() + behind.bytes().size(); }
  [[nodiscard]] UnfilledBytes joined() const;

  HeaderBytes headers;
  mem::Snapshot behind;
};

// The packet looks into `wire`.
[[nodiscard]] Result<Packet, ParseError> parse(ConstByteSpan wire);
[[nodiscard]] Result<Packet, ParseError> parse(const WirePacket& wire);
// The headers that the opcode asks for must be there.
[[nodiscard]] UnfilledBytes serialize(const Packet& packet);

}  // namespace cbit::dev::rdma
