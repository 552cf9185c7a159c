// The protocol's framing. Expected bytes: GDB's manual, "Overview" of its remote serial protocol.
#include "gdb/packets.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace cbit::gdb {
namespace {

using Kind = Arrival::Kind;

std::vector<Arrival> read(std::string_view bytes) {
  PacketReader reader;
  std::vector<Arrival> arrivals;
  for (const char byte : bytes)
    if (auto arrival = reader.take(byte)) arrivals.push_back(*std::move(arrival));
  return arrivals;
}

TEST(GdbPackets, AreReadByTheirChecksum) {
  EXPECT_EQ(read("+$qC#b4"), (std::vector<Arrival>{{Kind::packet, "qC"}}));
  EXPECT_EQ(read("$qC#B4$?#3f"), (std::vector<Arrival>{{Kind::packet, "qC"}, {Kind::packet, "?"}}));
  EXPECT_EQ(read("$qC#b5"), (std::vector<Arrival>{{Kind::damaged, ""}}));
  EXPECT_EQ(read("$qC#zz"), (std::vector<Arrival>{{Kind::damaged, ""}}));
  EXPECT_EQ(read("$#00"), (std::vector<Arrival>{{Kind::packet, ""}}));
}

TEST(GdbPackets, TakeBackWhatWasEscaped) {
  EXPECT_EQ(read("$}\x03}\x04}]#db"), (std::vector<Arrival>{{Kind::packet, "#$}"}}));
}

TEST(GdbPackets, EscapeWhatWouldEndThem) {
  EXPECT_EQ(frame("OK"), "$OK#9a");
  EXPECT_EQ(frame(""), "$#00");
  for (const std::string_view data : {"#", "$", "}", "*", "a#b$c}d*e"})
    EXPECT_EQ(read(frame(data)), (std::vector<Arrival>{{Kind::packet, std::string{data}}}));
}

TEST(GdbPackets, TellInterruptsOnlyBetweenPackets) {
  EXPECT_EQ(read("\x03"), (std::vector<Arrival>{{Kind::interrupt, ""}}));
  EXPECT_EQ(read("$\x03#03"), (std::vector<Arrival>{{Kind::packet, "\x03"}}));
  EXPECT_EQ(read("-"), (std::vector<Arrival>{{Kind::refused, ""}}));
}

TEST(GdbPackets, AreRefusedWhereTheyAreTooLong) {
  const std::string longest(packet_bytes_max, 'a');
  EXPECT_EQ(read(frame(longest)).front().data, longest);
  EXPECT_EQ(read(frame(longest + 'a')), (std::vector<Arrival>{{Kind::damaged, ""}}));
}

TEST(GdbPackets, HaveHexDigitsInPairs) {
  EXPECT_EQ(from_hex("00fF"), (Bytes{std::byte{0}, std::byte{0xff}}));
  EXPECT_EQ(from_hex(""), Bytes{});
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
}

}  // namespace
}  // namespace cbit::gdb
