#include "dev/rdma/wire.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cbit::dev::rdma {
namespace {

Bytes from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return bytes;
}

// Headers of known bytes: opcode, SE/M/Pad/TVer, P_Key, reserved, DestQP, A, PSN, then the extended headers.
TEST(RdmaWire, WritesAWriteRequestAsTheSpecificationLaysItOut) {
  Packet packet;
  packet.bth = {
      .opcode = Opcode::rc_write_only, .destination_qp = 0x123456, .ack_request = true, .psn = 0xabcdef};
  packet.reth = Reth{0x1122334455667788, 0xcafebabe, 5};
  const Bytes payload = from_hex("0102030405");
  packet.payload = payload;
  EXPECT_EQ(to_hex(serialize(packet)),
            "0a70ffff"
            "00123456"
            "80abcdef"
            "1122334455667788"
            "cafebabe"
            "00000005"
            "0102030405000000");
}

TEST(RdmaWire, WritesAtomicsAcknowledgesAndDatagramsAsTheSpecificationLaysThemOut) {
  Packet atomic;
  atomic.bth = {.opcode = Opcode::rc_compare_swap, .destination_qp = 2, .psn = 1};
  atomic.atomic = AtomicEth{.address = 8, .rkey = 9, .swap_or_add = 0x10, .compare = 0x11};
  EXPECT_EQ(to_hex(serialize(atomic)).substr(24),
            "0000000000000008"
            "00000009"
            "0000000000000010"
            "0000000000000011");
  Packet nak;
  nak.bth = {.opcode = Opcode::rc_acknowledge, .destination_qp = 2, .psn = 1};
  nak.aeth = Aeth{Syndrome{}.with<Syndrome::Kind>(syndrome_nak).with<Syndrome::Value>(2), 7};
  EXPECT_EQ(to_hex(serialize(nak)).substr(24), "62000007");
  Packet datagram;
  datagram.bth = {.opcode = Opcode::ud_send_only_imm, .destination_qp = 2};
  datagram.deth = Deth{0x11111111, 0x030405};
  datagram.immediate = 0xdeadbeef;
  EXPECT_EQ(to_hex(serialize(datagram)).substr(24),
            "11111111"
            "00030405"
            "deadbeef");
}

TEST(RdmaWire, RefusesWhatIsNoPacket) {
  EXPECT_EQ(parse(Bytes{}).error(), ParseError::too_short);
  EXPECT_EQ(parse(from_hex("1f40ffff0000000200000000")).error(), ParseError::unknown_opcode);
  EXPECT_EQ(parse(from_hex("0441ffff0000000200000000")).error(), ParseError::bad_version);
  EXPECT_EQ(parse(from_hex("0470ffff0000000200000000")).error(), ParseError::too_short);      // padding only
  EXPECT_EQ(parse(from_hex("0440ffff000000020000000001")).error(), ParseError::bad_padding);  // 1 byte
  EXPECT_EQ(parse(from_hex("0a40ffff0000000200000000")).error(), ParseError::too_short);      // no RETH
  EXPECT_EQ(parse(from_hex("1140ffff00000002000000000000000001020304")).error(), ParseError::trailing_bytes);
}

RC_GTEST_PROP(RdmaWire, AnyBytesAreAPacketThatSerializesToThemselvesOrNone, (std::vector<std::uint8_t> raw)) {
  Bytes wire;
  for (const std::uint8_t b : raw) wire.push_back(std::byte{b});
  if (!wire.empty()) wire[0] = static_cast<std::byte>(std::to_integer<unsigned>(wire[0]) % 0x16);
  const auto packet = parse(wire);
  if (packet) {
    const UnfilledBytes written = serialize(*packet);
    const auto again = parse(written);
    RC_ASSERT(again.has_value());
    RC_ASSERT(serialize(*again) == written);
    RC_ASSERT(std::ranges::equal(again->payload, packet->payload));
  }
}

}  // namespace
}  // namespace cbit::dev::rdma
