// What a network controller does to frames that it sends: checksums, segments of TCP and UDP, VLAN tags.
// Intel's manual for the 8254x, 3.4, 3.5 and 9. Offsets are the driver's, and may be anything: what does not
// lie in the frame is left alone.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"

namespace cbit::dev {

// The sum of [start, end] goes to `at`.
struct ChecksumPlace {
  std::size_t start = 0;
  std::size_t at = 0;
  std::size_t end = 0;  // inclusive; 0: the frame's end
};
// The Internet checksum (RFC 1071), which includes what is at `at`.
void insert_checksum(ByteSpan frame, const ChecksumPlace& place);

struct OffloadContext {
  ChecksumPlace ip;
  ChecksumPlace transport;
  bool is_ipv4 = false;
  bool is_tcp = false;
  std::size_t header_bytes = 0;
  std::size_t segment_bytes = 0;  // MSS
};
struct OffloadWanted {
  bool ip_checksum = false;
  bool transport_checksum = false;
};
void insert_checksums(ByteSpan frame, const OffloadContext& context, const OffloadWanted& wanted);

// The packet as frames with the header each, without their checksums. A segment has at least
// segment_bytes_min; a context that says otherwise, or a packet without a header, gives one frame.
inline constexpr std::size_t segment_bytes_min = 48;  // Linux' TCP_MIN_SND_MSS
std::vector<Bytes> segments_of(ConstByteSpan packet, const OffloadContext& context);

// A frame with an 802.1Q tag behind the addresses.
Bytes with_tag(ConstByteSpan frame, std::uint16_t type, std::uint16_t tag);

[[nodiscard]] std::uint16_t load_big16(ConstByteSpan bytes, std::size_t at);  // 0: outside
void store_big16(ByteSpan bytes, std::size_t at, std::uint16_t value);

// The frame check sequence of IEEE 802.3, 3.2.9, as it goes over the wire: lowest byte first.
[[nodiscard]] std::uint32_t frame_check(ConstByteSpan frame);

}  // namespace cbit::dev
