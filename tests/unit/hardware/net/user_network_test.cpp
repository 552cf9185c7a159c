#include "net/user_network.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>

#include "os/descriptor.hpp"

namespace cbit::net {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class Recorder final : public dev::NetEnd {
 public:
  bool receive(ConstByteSpan frame) override {
    seen.emplace_back(frame.begin(), frame.end());
    return true;
  }
  std::vector<Bytes> seen;
};

// "Who has 10.0.2.2?", from 52:54:00:12:34:56 at 10.0.2.15. RFC 826.
Bytes arp_request() {
  const std::uint8_t raw[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
                              0x56, 0x08, 0x06, 0,    1,    0x08, 0,    6,    4, 0,    1,
                              0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   0,    2, 15,   0,
                              0,    0,    0,    0,    0,    10,   0,    2,    2};
  const auto bytes = std::as_bytes(std::span{raw});
  return {bytes.begin(), bytes.end()};
}

// "Are there routers?" (RFC 4861, 4.1), from fe80::5054:ff:fe12:3456; the checksum is of RFC 4443, 2.3.
Bytes router_solicitation() {
  const std::uint8_t raw[] = {0x33, 0x33, 0,   0, 0,    2,    0x52, 0x54, 0,    0x12, 0x34, 0x56, 0x86,
                              0xdd, 0x60, 0,   0, 0,    0,    8,    0x3a, 0xff, 0xfe, 0x80, 0,    0,
                              0,    0,    0,   0, 0x50, 0x54, 0,    0xff, 0xfe, 0x12, 0x34, 0x56, 0xff,
                              2,    0,    0,   0, 0,    0,    0,    0,    0,    0,    0,    0,    0,
                              0,    2,    133, 0, 0,    0,    0,    0,    0,    0};
  const auto bytes = std::as_bytes(std::span{raw});
  Bytes frame{bytes.begin(), bytes.end()};
  std::uint32_t sum = 8 + 0x3a;  // the length and the next header of the pseudo-header
  for (std::size_t at = 22; at < frame.size(); at += 2)
    sum += std::to_integer<std::uint32_t>(frame[at]) << 8 | std::to_integer<std::uint32_t>(frame[at + 1]);
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  frame[56] = static_cast<std::byte>(~sum >> 8);
  frame[57] = static_cast<std::byte>(~sum);
  return frame;
}

bool is_router_advertisement(const Bytes& frame) {
  constexpr std::byte router_advertisement{134};
  return frame.size() > 70 && frame[12] == std::byte{0x86} && frame[54] == router_advertisement;
}

// A socket of this host's at a port of its own.
os::Descriptor taken_port(std::uint16_t& port) {
  os::Descriptor taken{::socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof at;
  EXPECT_EQ(::bind(taken.fd(), reinterpret_cast<sockaddr*>(&at), bytes), 0);
  EXPECT_EQ(::listen(taken.fd(), 1), 0);
  EXPECT_EQ(::getsockname(taken.fd(), reinterpret_cast<sockaddr*>(&at), &bytes), 0);
  port = ntohs(at.sin_port);
  return taken;
}

TEST(UserNetwork, AnswersForTheHost) {
  const auto network = UserNetwork::create({});
  ASSERT_TRUE(network) << network.error().message;
  Recorder device;
  (*network)->connect(&device);
  EXPECT_TRUE((*network)->receive(arp_request()));
  ASSERT_THAT(device.seen, SizeIs(1));
  const Bytes& answer = device.seen[0];
  ASSERT_GE(answer.size(), 42u);
  EXPECT_EQ(answer[21], std::byte{2}) << "a reply";
  EXPECT_EQ(load<std::uint32_t>(answer, 28), 0x0202'000au) << "of 10.0.2.2";
}

TEST(UserNetwork, TellsOfItsPrefix) {
  const auto network = UserNetwork::create({});
  ASSERT_TRUE(network) << network.error().message;
  Recorder device;
  (*network)->connect(&device);
  EXPECT_TRUE((*network)->receive(router_solicitation()));
  const auto answer = std::ranges::find_if(device.seen, is_router_advertisement);
  ASSERT_NE(answer, device.seen.end());
  // RFC 4861, 4.2 and 4.6.2: the options begin 16 bytes into the message; that of the prefix has its length
  // at 2, and the prefix at 16.
  std::size_t at = 54 + 16;
  while (at + 2 < answer->size() && (*answer)[at] != std::byte{3})
    at += std::to_integer<std::size_t>((*answer)[at + 1]) * 8;
  ASSERT_LE(at + 32, answer->size());
  EXPECT_EQ((*answer)[at + 2], std::byte{64});
  EXPECT_EQ(load<std::uint64_t>(*answer, at + 16), 0xc0feu) << "fec0::";
}

TEST(UserNetwork, OfOneProtocolIsSilentInTheOther) {
  for (const bool ipv4 : {true, false}) {
    const auto network = UserNetwork::create({.ipv4 = ipv4, .ipv6 = !ipv4});
    ASSERT_TRUE(network) << network.error().message;
    Recorder device;
    (*network)->connect(&device);
    EXPECT_TRUE((*network)->receive(arp_request()));
    EXPECT_EQ(device.seen.empty(), !ipv4);
    device.seen.clear();
    EXPECT_TRUE((*network)->receive(router_solicitation()));
    EXPECT_EQ(std::ranges::any_of(device.seen, is_router_advertisement), !ipv4);
  }
}

TEST(UserNetwork, TakesFramesThatAreNone) {
  const auto network = UserNetwork::create({});
  ASSERT_TRUE(network);
  for (std::size_t bytes = 0; bytes < 64; ++bytes) EXPECT_TRUE((*network)->receive(Bytes(bytes)));
  Bytes frame = arp_request();
  for (std::size_t bytes = 0; bytes < frame.size(); ++bytes)
    EXPECT_TRUE((*network)->receive(ConstByteSpan{frame}.first(bytes)));
}

TEST(UserNetwork, WaitsForConnectionsAtAForwardedPort) {
  std::uint16_t port = 0;
  taken_port(port).reset();
  const PortForward forward{.host = INADDR_LOOPBACK, .host_port = port, .guest_port = 22};
  const auto network = UserNetwork::create({.forwards = {forward}});
  ASSERT_TRUE(network) << network.error().message;
  Recorder device;
  (*network)->connect(&device);
  os::Descriptor peer{::socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(peer.fd(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  for (int n = 0; n < 50 && device.seen.empty(); ++n) {
    os::PollSet set;
    (*network)->prepare(set);
    set.wait();
    (*network)->serve(set);
  }
  EXPECT_FALSE(device.seen.empty()) << "it asks who has the guest's address";
}

TEST(UserNetwork, SaysWhichPortItCannotHave) {
  std::uint16_t port = 0;
  const os::Descriptor taken = taken_port(port);
  const auto network =
      UserNetwork::create({.forwards = {{.host = INADDR_LOOPBACK, .host_port = port, .guest_port = 22}}});
  ASSERT_FALSE(network);
  EXPECT_THAT(network.error().message, HasSubstr("cannot forward TCP port " + std::to_string(port) +
                                                 " of 127.0.0.1: Address already"));
  EXPECT_EQ(network.error().code, ExitCode::bad_input);
}

TEST(Ipv4, IsFourNumbers) {
  EXPECT_EQ(parse_ipv4("10.0.2.15"), 0x0a00'020fu);
  EXPECT_EQ(to_text(0x0a00'020f), "10.0.2.15");
  for (const std::string_view none : {"", "10", "10.0.2", "10.0.2.256", "10.0.2.1 ", "::1", "host"})
    EXPECT_EQ(parse_ipv4(none), std::nullopt) << none;
}

TEST(Ipv6, IsAsItIsWritten) {
  EXPECT_EQ(parse_ipv6("fec0::2"), (Ipv6{0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}));
  EXPECT_EQ(to_text(Ipv6{0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}), "fec0::2");
  for (const std::string_view none : {"", "fec0", "10.0.2.15", "fec0::2 ", "fec0::2/64"})
    EXPECT_EQ(parse_ipv6(none), std::nullopt) << none;
}

}  // namespace
}  // namespace cbit::net
