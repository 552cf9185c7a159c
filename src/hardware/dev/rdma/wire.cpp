#include "dev/rdma/wire.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"

namespace cbit::dev::rdma {
namespace {

constexpr OpcodeInfo opcodes[] = {
    {.opcode = Opcode::rc_send_first, .payload = true, .first = true},
    {.opcode = Opcode::rc_send_middle, .payload = true},
    {.opcode = Opcode::rc_send_last, .payload = true, .last = true},
    {.opcode = Opcode::rc_send_last_imm, .immediate = true, .payload = true, .last = true},
    {.opcode = Opcode::rc_send_only, .payload = true, .first = true, .last = true},
    {.opcode = Opcode::rc_send_only_imm, .immediate = true, .payload = true, .first = true, .last = true},
    {.opcode = Opcode::rc_write_first, .reth = true, .payload = true, .first = true},
    {.opcode = Opcode::rc_write_middle, .payload = true},
    {.opcode = Opcode::rc_write_last, .payload = true, .last = true},
    {.opcode = Opcode::rc_write_last_imm, .immediate = true, .payload = true, .last = true},
    {.opcode = Opcode::rc_write_only, .reth = true, .payload = true, .first = true, .last = true},
    {.opcode = Opcode::rc_write_only_imm,
     .reth = true,
     .immediate = true,
     .payload = true,
     .first = true,
     .last = true},
    {.opcode = Opcode::rc_read_request, .reth = true, .first = true, .last = true},
    {.opcode = Opcode::rc_read_response_first,
     .aeth = true,
     .payload = true,
     .first = true,
     .response = true},
    {.opcode = Opcode::rc_read_response_middle, .payload = true, .response = true},
    {.opcode = Opcode::rc_read_response_last, .aeth = true, .payload = true, .last = true, .response = true},
    {.opcode = Opcode::rc_read_response_only,
     .aeth = true,
     .payload = true,
     .first = true,
     .last = true,
     .response = true},
    {.opcode = Opcode::rc_acknowledge, .aeth = true, .first = true, .last = true, .response = true},
    {.opcode = Opcode::rc_atomic_acknowledge,
     .aeth = true,
     .atomic_ack = true,
     .first = true,
     .last = true,
     .response = true},
    {.opcode = Opcode::rc_compare_swap, .atomic = true, .first = true, .last = true},
    {.opcode = Opcode::rc_fetch_add, .atomic = true, .first = true, .last = true},
    {.opcode = Opcode::ud_send_only, .deth = true, .payload = true, .first = true, .last = true},
    {.opcode = Opcode::ud_send_only_imm,
     .deth = true,
     .immediate = true,
     .payload = true,
     .first = true,
     .last = true},
};

// BTH, 12 bytes. 9.2.
constexpr std::size_t bth_bytes = 12;
// With an AtomicETH, the longest of the others.
constexpr std::size_t headers_bytes_max = bth_bytes + 28 + 4;
struct BthByte1 : Register<BthByte1, std::uint8_t> {
  using SolicitedEvent = Field<7, 7, bool>;
  using MigReq = Field<6, 6, bool>;
  using PadCnt = Field<5, 4>;
  using TVer = Field<3, 0>;
};
struct BthByte8 : Register<BthByte8, std::uint8_t> {
  using AckReq = Field<7, 7, bool>;
};

class Reader {
 public:
  explicit Reader(ConstByteSpan wire) : rest_{wire} {}

  [[nodiscard]] std::size_t left() const { return rest_.size(); }
  // The next `bytes` bytes as a number, most significant first; nothing is read when they are not there.
  [[nodiscard]] std::optional<std::uint64_t> number(std::size_t bytes) {
    if (rest_.size() < bytes) return std::nullopt;
    std::uint64_t value = 0;
    for (const std::byte b : rest_.first(bytes)) value = value << 8 | std::to_integer<std::uint64_t>(b);
    rest_ = rest_.subspan(bytes);
    return value;
  }
  template <class T>
  bool read(T& to, std::size_t bytes = sizeof(T)) {
    const auto value = number(bytes);
    if (value) to = static_cast<T>(*value);
    return value.has_value();
  }
  [[nodiscard]] bool skip(std::size_t bytes) {
    if (rest_.size() < bytes) return false;
    rest_ = rest_.subspan(bytes);
    return true;
  }
  [[nodiscard]] ConstByteSpan rest() const { return rest_; }

 private:
  ConstByteSpan rest_;
};

class HeaderWriter {
 public:
  void number(std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = bytes; i-- > 0;) out_[size_++] = static_cast<std::byte>(value >> 8 * i);
  }
  [[nodiscard]] ConstByteSpan written() const { return std::span{out_}.first(size_); }

 private:
  std::array<std::byte, headers_bytes_max> out_;
  std::size_t size_ = 0;
};

Result<Bth, ParseError> parse_bth(Reader& in) {
  if (in.left() < bth_bytes) return tl::unexpected{ParseError::too_short};
  Bth bth;
  std::uint8_t opcode = 0;
  BthByte1 byte1;
  BthByte8 byte8;
  in.read(opcode);
  in.read(byte1.raw);
  in.read(bth.pkey);
  (void)in.skip(1);
  in.read(bth.destination_qp, 3);
  in.read(byte8.raw);
  in.read(bth.psn, 3);
  if (find_opcode(opcode) == nullptr) return tl::unexpected{ParseError::unknown_opcode};
  if (byte1.get<BthByte1::TVer>() != 0) return tl::unexpected{ParseError::bad_version};
  bth.opcode = Opcode{opcode};
  bth.solicited = byte1.get<BthByte1::SolicitedEvent>();
  bth.pad_count = byte1.get<BthByte1::PadCnt>();
  bth.ack_request = byte8.get<BthByte8::AckReq>();
  return bth;
}

bool parse_extended(Reader& in, Packet& packet) {
  const OpcodeInfo& info = packet.info();
  if (info.reth) {
    Reth& reth = packet.reth.emplace();
    if (!in.read(reth.address) || !in.read(reth.rkey) || !in.read(reth.bytes)) return false;
  }
  if (info.atomic) {
    AtomicEth& atomic = packet.atomic.emplace();
    if (!in.read(atomic.address) || !in.read(atomic.rkey) || !in.read(atomic.swap_or_add) ||
        !in.read(atomic.compare))
      return false;
  }
  if (info.deth) {
    Deth& deth = packet.deth.emplace();
    if (!in.read(deth.qkey) || !in.skip(1) || !in.read(deth.source_qp, 3)) return false;
  }
  if (info.aeth) {
    Aeth& aeth = packet.aeth.emplace();
    if (!in.read(aeth.syndrome.raw) || !in.read(aeth.msn, 3)) return false;
  }
  if (info.atomic_ack && !in.read(packet.atomic_ack.emplace())) return false;
  return !info.immediate || in.read(packet.immediate.emplace());
}

}  // namespace

const OpcodeInfo* find_opcode(std::uint8_t value) {
  static const auto by_value = [] {
    std::array<const OpcodeInfo*, 256> table{};
    for (const OpcodeInfo& info : opcodes) table[static_cast<std::uint8_t>(info.opcode)] = &info;
    return table;
  }();
  return by_value[value];
}

std::string_view to_string(ParseError error) {
  switch (error) {
    case ParseError::too_short: return "too-short";
    case ParseError::unknown_opcode: return "unknown-opcode";
    case ParseError::bad_version: return "bad-version";
    case ParseError::bad_padding: return "bad-padding";
    case ParseError::trailing_bytes: return "trailing-bytes";
  }
  return "?";
}

Result<Packet, ParseError> parse(ConstByteSpan wire) {
  Reader in{wire};
  Result<Packet, ParseError> parsed{};
  Packet& packet = *parsed;
  packet.bth = CBIT_TRY(parse_bth(in));
  if (!parse_extended(in, packet)) return tl::unexpected{ParseError::too_short};
  if (!packet.info().payload) {
    if (in.left() != 0) return tl::unexpected{ParseError::trailing_bytes};
    if (packet.bth.pad_count != 0) return tl::unexpected{ParseError::bad_padding};
    return parsed;
  }
  if (in.left() < packet.bth.pad_count) return tl::unexpected{ParseError::too_short};
  if (in.left() % 4 != 0) return tl::unexpected{ParseError::bad_padding};
  packet.payload = in.rest().first(in.left() - packet.bth.pad_count);
  return parsed;
}

OpenPacket open_packet(const Packet& packet, std::size_t payload_bytes) {
  const OpcodeInfo& info = packet.info();
  CBIT_ASSERT(info.reth == packet.reth.has_value() && info.atomic == packet.atomic.has_value());
  CBIT_ASSERT(info.deth == packet.deth.has_value() && info.aeth == packet.aeth.has_value());
  const std::size_t padding = (4 - payload_bytes % 4) % 4;
  HeaderWriter out;
  out.number(static_cast<std::uint8_t>(packet.bth.opcode), 1);
  out.number(BthByte1{}
                 .with<BthByte1::SolicitedEvent>(packet.bth.solicited)
                 .with<BthByte1::MigReq>(true)
                 .with<BthByte1::PadCnt>(static_cast<std::uint8_t>(padding))
                 .raw,
             1);
  out.number(packet.bth.pkey, 2);
  out.number(0, 1);
  out.number(packet.bth.destination_qp, 3);
  out.number(BthByte8{}.with<BthByte8::AckReq>(packet.bth.ack_request).raw, 1);
  out.number(packet.bth.psn, 3);
  if (packet.reth) {
    out.number(packet.reth->address, 8);
    out.number(packet.reth->rkey, 4);
    out.number(packet.reth->bytes, 4);
  }
  if (packet.atomic) {
    out.number(packet.atomic->address, 8);
    out.number(packet.atomic->rkey, 4);
    out.number(packet.atomic->swap_or_add, 8);
    out.number(packet.atomic->compare, 8);
  }
  if (packet.deth) {
    out.number(packet.deth->qkey, 4);
    out.number(0, 1);
    out.number(packet.deth->source_qp, 3);
  }
  if (packet.aeth) {
    out.number(packet.aeth->syndrome.raw, 1);
    out.number(packet.aeth->msn, 3);
  }
  if (info.atomic_ack) out.number(packet.atomic_ack.value_or(0), 8);
  if (info.immediate) out.number(packet.immediate.value_or(0), 4);
  const ConstByteSpan headers = out.written();
  OpenPacket made{UnfilledBytes(headers.size() + payload_bytes + padding), {}};
  std::ranges::copy(headers, made.wire.begin());
  made.payload = ByteSpan{made.wire}.subspan(headers.size(), payload_bytes);
  std::ranges::fill(ByteSpan{made.wire}.last(padding), std::byte{0});
  return made;
}

UnfilledBytes serialize(const Packet& packet) {
  OpenPacket made = open_packet(packet, packet.payload.size());
  std::ranges::copy(packet.payload, made.payload.begin());
  return std::move(made.wire);
}

}  // namespace cbit::dev::rdma
