#include "dev/e1000/offload.hpp"

#include <algorithm>
#include <array>

#include "dev/net_end.hpp"

namespace cbit::dev {
namespace {

constexpr std::size_t ipv4_length = 2;
constexpr std::size_t ipv4_id = 4;
constexpr std::size_t ipv6_length = 4;
constexpr std::size_t ipv6_header_bytes = 40;
constexpr std::size_t tcp_sequence = 4;
constexpr std::size_t tcp_flags = 13;
constexpr std::size_t udp_length = 4;
constexpr std::byte fin_and_psh{0x09};

constexpr auto crc_table = [] {
  constexpr std::uint32_t polynomial = 0xedb8'8320;
  std::array<std::uint32_t, 256> entries{};
  for (std::uint32_t byte = 0; byte < entries.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? polynomial : 0);
    entries[byte] = crc;
  }
  return entries;
}();

std::uint16_t folded(std::uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

// 3.5.7 to 3.5.9: what a segment's header has of its own. `begin`: of its payload.
void update_header(ByteSpan frame, const OffloadContext& context, std::size_t number, std::size_t begin,
                   bool is_last) {
  const std::size_t ip = context.ip.start;
  const std::size_t transport = context.transport.start;
  const auto behind = [&frame](std::size_t offset) {
    return static_cast<std::uint16_t>(frame.size() - std::min(offset, frame.size()));
  };
  if (context.is_ipv4) {
    store_big16(frame, ip + ipv4_length, behind(ip));
    store_big16(frame, ip + ipv4_id, static_cast<std::uint16_t>(load_big16(frame, ip + ipv4_id) + number));
  } else {
    store_big16(frame, ip + ipv6_length, behind(ip + ipv6_header_bytes));
  }
  if (context.is_tcp) {
    const std::uint32_t sequence = (std::uint32_t{load_big16(frame, transport + tcp_sequence)} << 16 |
                                    load_big16(frame, transport + tcp_sequence + 2)) +
                                   static_cast<std::uint32_t>(begin);
    store_big16(frame, transport + tcp_sequence, static_cast<std::uint16_t>(sequence >> 16));
    store_big16(frame, transport + tcp_sequence + 2, static_cast<std::uint16_t>(sequence));
    if (!is_last && transport + tcp_flags < frame.size()) frame[transport + tcp_flags] &= ~fin_and_psh;
  } else {
    store_big16(frame, transport + udp_length, behind(transport));
  }
  // The driver's sum of the pseudo header is without the length.
  const std::size_t at = context.transport.at;
  store_big16(frame, at, folded(std::uint32_t{load_big16(frame, at)} + behind(transport)));
}

}  // namespace

std::uint16_t load_big16(ConstByteSpan bytes, std::size_t at) {
  if (at + 2 > bytes.size()) return 0;
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

void store_big16(ByteSpan bytes, std::size_t at, std::uint16_t value) {
  if (at + 2 > bytes.size()) return;
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

void insert_checksum(ByteSpan frame, const ChecksumPlace& place) {
  const std::size_t end = place.end == 0 ? frame.size() : std::min(place.end + 1, frame.size());
  std::uint32_t sum = 0;
  for (std::size_t i = place.start; i < end; i += 2)
    sum += i + 1 < end ? load_big16(frame, i) : std::to_integer<std::uint32_t>(frame[i]) << 8;
  store_big16(frame, place.at, static_cast<std::uint16_t>(~folded(sum)));
}

void insert_checksums(ByteSpan frame, const OffloadContext& context, const OffloadWanted& wanted) {
  if (wanted.ip_checksum) insert_checksum(frame, context.ip);
  if (wanted.transport_checksum) insert_checksum(frame, context.transport);
}

std::vector<Bytes> segments_of(ConstByteSpan packet, const OffloadContext& context) {
  const std::size_t header = context.header_bytes;
  if (context.segment_bytes < segment_bytes_min || header == 0 || header >= packet.size())
    return {Bytes(packet.begin(), packet.end())};
  std::vector<Bytes> frames;
  const ConstByteSpan payload = packet.subspan(header);
  for (std::size_t begin = 0; begin < payload.size(); begin += context.segment_bytes) {
    const auto part = payload.subspan(begin, std::min(context.segment_bytes, payload.size() - begin));
    Bytes frame(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(header));
    frame.insert(frame.end(), part.begin(), part.end());
    update_header(frame, context, frames.size(), begin, begin + part.size() == payload.size());
    frames.push_back(std::move(frame));
  }
  return frames;
}

Bytes with_tag(ConstByteSpan frame, std::uint16_t type, std::uint16_t tag) {
  constexpr std::size_t addresses = 2 * sizeof(MacAddress);
  constexpr std::size_t tag_bytes = 4;
  const std::size_t before = std::min(addresses, frame.size());
  Bytes tagged(frame.size() + tag_bytes);
  std::ranges::copy(frame.first(before), tagged.begin());
  store_big16(tagged, before, type);
  store_big16(tagged, before + 2, tag);
  std::ranges::copy(frame.subspan(before), tagged.begin() + static_cast<std::ptrdiff_t>(before + tag_bytes));
  return tagged;
}

std::uint32_t frame_check(ConstByteSpan frame) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const std::byte b : frame)
    crc = crc >> 8 ^ crc_table[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  return ~crc;
}

}  // namespace cbit::dev
