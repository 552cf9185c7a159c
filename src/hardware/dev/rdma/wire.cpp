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

std::optional<ParseError> parse_bth(Reader& in, Bth& bth) {
  if (in.left() < bth_bytes) return ParseError::too_short;
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
  if (find_opcode(opcode) == nullptr) return ParseError::unknown_opcode;
  if (byte1.get<BthByte1::TVer>() != 0) return ParseError::bad_version;
  bth.opcode = Opcode{opcode};
  bth.solicited = byte1.get<BthByte1::SolicitedEvent>();
  bth.pad_count = byte1.get<BthByte1::PadCnt>();
  bth.ack_request = byte8.get<BthByte8::AckReq>();
  return std::nullopt;
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
  static constexpr auto by_value = [] {
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

UnfilledBytes WirePacket::joined() const {
  const ConstByteSpan first = headers.bytes(), then = behind.bytes();
  UnfilledBytes all(first.begin(), first.end());
  all.insert(all.end(), then.begin(), then.end());
  return all;
}

namespace {

// Reads the headers of `in`, and takes what follows them, or else `behind`, for the payload.
std::optional<ParseError> parse_into(Packet& packet, Reader in, ConstByteSpan behind) {
  if (const auto error = parse_bth(in, packet.bth)) return error;
  if (!parse_extended(in, packet)) return ParseError::too_short;
  if (in.left() != 0) behind = in.rest();
  const std::size_t padding = packet.bth.pad_count;
  if (!packet.info().payload) {
    if (!behind.empty()) return ParseError::trailing_bytes;
    return padding == 0 ? std::nullopt : std::optional{ParseError::bad_padding};
  }
  if (behind.size() < padding) return ParseError::too_short;
  if (behind.size() % 4 != 0) return ParseError::bad_padding;
  packet.payload = behind.first(behind.size() - padding);
  return std::nullopt;
}

Result<Packet, ParseError> parse_parts(ConstByteSpan headers, ConstByteSpan behind) {
  Result<Packet, ParseError> parsed;
  if (const auto error = parse_into(*parsed, Reader{headers}, behind)) parsed = tl::unexpected{*error};
  return parsed;
}

}  // namespace

Result<Packet, ParseError> parse(ConstByteSpan wire) { return parse_parts(wire, {}); }
Result<Packet, ParseError> parse(const WirePacket& wire) {
  const ConstByteSpan headers = wire.headers.bytes(), behind = wire.behind.bytes();
  return headers.empty() ? parse(behind) : parse_parts(headers, behind);
}

HeaderBytes headers_of(const Packet& packet, std::size_t payload_bytes) {
  const OpcodeInfo& info = packet.info();
  CBIT_ASSERT(info.reth == packet.reth.has_value() && info.atomic == packet.atomic.has_value());
  CBIT_ASSERT(info.deth == packet.deth.has_value() && info.aeth == packet.aeth.has_value());
  HeaderBytes out;
  out.add(static_cast<std::uint8_t>(packet.bth.opcode), 1);
  out.add(BthByte1{}
              .with<BthByte1::SolicitedEvent>(packet.bth.solicited)
              .with<BthByte1::MigReq>(true)
              .with<BthByte1::PadCnt>(static_cast<std::uint8_t>(padding_of(payload_bytes)))
              .raw,
          1);
  out.add(packet.bth.pkey, 2);
  out.add(0, 1);
  out.add(packet.bth.destination_qp, 3);
  out.add(BthByte8{}.with<BthByte8::AckReq>(packet.bth.ack_request).raw, 1);
  out.add(packet.bth.psn, 3);
  if (packet.reth) {
    out.add(packet.reth->address, 8);
    out.add(packet.reth->rkey, 4);
    out.add(packet.reth->bytes, 4);
  }
  if (packet.atomic) {
    out.add(packet.atomic->address, 8);
    out.add(packet.atomic->rkey, 4);
    out.add(packet.atomic->swap_or_add, 8);
    out.add(packet.atomic->compare, 8);
  }
  if (packet.deth) {
    out.add(packet.deth->qkey, 4);
    out.add(0, 1);
    out.add(packet.deth->source_qp, 3);
  }
  if (packet.aeth) {
    out.add(packet.aeth->syndrome.raw, 1);
    out.add(packet.aeth->msn, 3);
  }
  if (info.atomic_ack) out.add(packet.atomic_ack.value_or(0), 8);
  if (info.immediate) out.add(packet.immediate.value_or(0), 4);
  return out;
}

UnfilledBytes serialize(const Packet& packet) {
  const HeaderBytes headers = headers_of(packet, packet.payload.size());
  UnfilledBytes wire(headers.bytes().begin(), headers.bytes().end());
  wire.insert(wire.end(), packet.payload.begin(), packet.payload.end());
  wire.insert(wire.end(), padding_of(packet.payload.size()), std::byte{0});
  return wire;
}

}  // namespace cbit::dev::rdma
