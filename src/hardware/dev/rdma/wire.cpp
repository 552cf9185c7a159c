#include "dev/rdma/wire.hpp"

#include <algorithm>
#include <array>
#include <concepts>

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

// Headers are words of 32 bits, and numbers of two of them. The BTH: 9.2.
struct BthWord0 : Register<BthWord0, std::uint32_t> {
  using OpCode = Field<31, 24, std::uint8_t>;
  using SolicitedEvent = Field<23, 23, bool>;
  using MigReq = Field<22, 22, bool>;
  using PadCnt = Field<21, 20, std::uint8_t>;
  using TVer = Field<19, 16>;
  using PKey = Field<15, 0, std::uint16_t>;
};
struct BthWord1 : Register<BthWord1, std::uint32_t> {
  using DestQp = Field<23, 0>;
};
struct BthWord2 : Register<BthWord2, std::uint32_t> {
  using AckReq = Field<31, 31, bool>;
  using Psn = Field<23, 0>;
};
struct AethWord : Register<AethWord, std::uint32_t> {
  using Syndrome = Field<31, 24, std::uint8_t>;
  using Msn = Field<23, 0>;
};

// To and from the order of the wire: the most significant byte first.
template <std::unsigned_integral T>
T swapped(T number) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (sizeof(T) == 4)
    return __builtin_bswap32(number);
  else
    return __builtin_bswap64(number);
}

class Reader {
 public:
  explicit Reader(ConstByteSpan wire) : rest_{wire} {}

  // False, and nothing is read, when the number is not there.
  template <class T>
  [[nodiscard]] bool read(T& to) {
    if (rest_.size() < sizeof(T)) return false;
    to = swapped(load<T>(rest_));
    rest_ = rest_.subspan(sizeof(T));
    return true;
  }
  [[nodiscard]] ConstByteSpan rest() const { return rest_; }

 private:
  ConstByteSpan rest_;
};

class Writer {
 public:
  explicit Writer(ByteSpan to) : to_{to} {}

  template <class T>
  void add(T number) {
    store(to_, size_, swapped(number));
    size_ += sizeof(T);
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  ByteSpan to_;
  std::size_t size_ = 0;
};

std::optional<ParseError> parse_bth(Reader& in, Bth& bth) {
  BthWord0 word0;
  BthWord1 word1;
  BthWord2 word2;
  if (!in.read(word0.raw) || !in.read(word1.raw) || !in.read(word2.raw)) return ParseError::too_short;
  if (find_opcode(word0.get<BthWord0::OpCode>()) == nullptr) return ParseError::unknown_opcode;
  if (word0.get<BthWord0::TVer>() != 0) return ParseError::bad_version;
  bth = {.opcode = Opcode{word0.get<BthWord0::OpCode>()},
         .solicited = word0.get<BthWord0::SolicitedEvent>(),
         .pad_count = word0.get<BthWord0::PadCnt>(),
         .pkey = word0.get<BthWord0::PKey>(),
         .destination_qp = word1.get<BthWord1::DestQp>(),
         .ack_request = word2.get<BthWord2::AckReq>(),
         .psn = word2.get<BthWord2::Psn>()};
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
    if (!in.read(deth.qkey) || !in.read(deth.source_qp)) return false;
    deth.source_qp &= mask_24_bits;
  }
  if (info.aeth) {
    AethWord word;
    if (!in.read(word.raw)) return false;
    packet.aeth = Aeth{{{word.get<AethWord::Syndrome>()}}, word.get<AethWord::Msn>()};
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
  if (!in.rest().empty()) behind = in.rest();
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

namespace {

// How many zeros come behind such a payload.
constexpr std::size_t padding_of(std::size_t payload_bytes) { return (4 - payload_bytes % 4) % 4; }

// What comes before it; gives its size.
std::size_t put_headers(ByteSpan to, const Packet& packet, std::size_t payload_bytes) {
  const OpcodeInfo& info = packet.info();
  CBIT_ASSERT(info.reth == packet.reth.has_value() && info.atomic == packet.atomic.has_value());
  CBIT_ASSERT(info.deth == packet.deth.has_value() && info.aeth == packet.aeth.has_value());
  Writer out{to};
  out.add(BthWord0{}
              .with<BthWord0::OpCode>(static_cast<std::uint8_t>(packet.bth.opcode))
              .with<BthWord0::SolicitedEvent>(packet.bth.solicited)
              .with<BthWord0::MigReq>(true)
              .with<BthWord0::PadCnt>(static_cast<std::uint8_t>(padding_of(payload_bytes)))
              .with<BthWord0::PKey>(packet.bth.pkey)
              .raw);
  out.add(BthWord1{}.with<BthWord1::DestQp>(packet.bth.destination_qp).raw);
  out.add(BthWord2{}.with<BthWord2::AckReq>(packet.bth.ack_request).with<BthWord2::Psn>(packet.bth.psn).raw);
  if (packet.reth) {
    out.add(packet.reth->address);
    out.add(packet.reth->rkey);
    out.add(packet.reth->bytes);
  }
  if (packet.atomic) {
    out.add(packet.atomic->address);
    out.add(packet.atomic->rkey);
    out.add(packet.atomic->swap_or_add);
    out.add(packet.atomic->compare);
  }
  if (packet.deth) {
    out.add(packet.deth->qkey);
    out.add(packet.deth->source_qp & mask_24_bits);
  }
  if (packet.aeth)
    out.add(AethWord{}
                .with<AethWord::Syndrome>(packet.aeth->syndrome.raw)
                .with<AethWord::Msn>(packet.aeth->msn)
                .raw);
  if (info.atomic_ack) out.add(packet.atomic_ack.value_or(0));
  if (info.immediate) out.add(packet.immediate.value_or(0));
  return out.size();
}

}  // namespace

void WirePacket::put(const Packet& packet, mem::Snapshot&& payload) {
  const std::size_t bytes = payload.bytes().size();
  headers.size = static_cast<std::uint8_t>(put_headers(headers.room, packet, bytes));
  if (const std::size_t padding = padding_of(bytes); padding != 0)
    std::ranges::fill(payload.extend(padding), std::byte{0});
  behind = std::move(payload);
}

UnfilledBytes serialize(const Packet& packet) {
  std::array<std::byte, HeaderBytes::bytes_max> headers;
  const std::size_t bytes = put_headers(headers, packet, packet.payload.size());
  UnfilledBytes wire(headers.begin(), headers.begin() + bytes);
  wire.insert(wire.end(), packet.payload.begin(), packet.payload.end());
  wire.insert(wire.end(), padding_of(packet.payload.size()), std::byte{0});
  return wire;
}

}  // namespace cbit::dev::rdma
