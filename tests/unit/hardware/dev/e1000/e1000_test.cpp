#include "dev/e1000/e1000.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dev/e1000/e1000_pci.hpp"
#include "unit/hardware/dev/liar.hpp"
#include "unit/hardware/dev/net_recorder.hpp"
#include "unit/hardware/dev/virtio_board.hpp"

namespace cbit::dev {
namespace {

namespace e1000 = spec::e1000;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr unsigned slot = 3;
constexpr std::uint64_t transmit_ring = 0x10000;
constexpr std::uint64_t receive_ring = 0x20000;
constexpr std::uint64_t data_at = 0x40000;
constexpr std::uint32_t ring_entries = 16;

class E1000Test : public ::testing::Test {
 protected:
  E1000Test()
      : function{std::make_unique<E1000>(board.bus,
                                         bus::DmaPortConfig{.device = "eth0", .requester = slot * 8},
                                         E1000Options{{.network = &network}}, &board.clock)} {
    board.pci.plug(slot, function);
    board.assign_resources();
    board.enable_bus_master(slot);
  }
  void set(std::uint32_t reg, std::uint32_t value) { board.write(board.bar(slot, 0) + reg, value); }
  std::uint32_t get(std::uint32_t reg) { return board.read<std::uint32_t>(board.bar(slot, 0) + reg); }

  void start(std::uint32_t rctl_more = 0) {
    set(e1000::reg::tdbal, transmit_ring);
    set(e1000::reg::tdlen, 16 * ring_entries);
    set(e1000::reg::tctl, e1000::tctl::en);
    set(e1000::reg::rdbal, receive_ring);
    set(e1000::reg::rdlen, 16 * ring_entries);
    for (std::uint32_t n = 0; n < ring_entries; ++n)
      board.put(receive_ring + 16 * n, e1000::RxDescriptor{.address = data_at + 0x1000ull * n});
    set(e1000::reg::rctl, e1000::rctl::en | e1000::rctl::bam | rctl_more);
    set(e1000::reg::rdt, ring_entries - 1);
  }
  void transmit(const std::vector<e1000::TxDescriptor>& descriptors) {
    for (const e1000::TxDescriptor& one : descriptors) {
      board.put(transmit_ring + 16 * (next_ % ring_entries), one);
      ++next_;
    }
    set(e1000::reg::tdt, next_ % ring_entries);
  }
  [[nodiscard]] e1000::RxDescriptor received(std::uint32_t n) {
    return board.get<e1000::RxDescriptor>(receive_ring + 16 * n);
  }
  // To this station, from another.
  static Bytes frame(std::size_t bytes, MacAddress to = default_mac) {
    Bytes made = pattern_bytes(bytes, 7);
    std::ranges::copy(std::as_bytes(std::span{to}), made.begin());
    return made;
  }

  RecordingNetwork network;
  VirtioBoard board;
  E1000Pci function;
  std::uint32_t next_ = 0;
};

// Linux' driver matches 8086:100e; the manual's 4.1 has the class.
TEST_F(E1000Test, IsAnEthernetControllerOfConventionalPci) {
  EXPECT_EQ(board.config<std::uint32_t>(slot, 0), 0x100e'8086u);
  EXPECT_EQ(board.config<std::uint32_t>(slot, 8) >> 16, 0x0200u);
  EXPECT_EQ(board.capability(slot, 0x10), 0u);
  EXPECT_EQ(get(e1000::reg::status) & 2, 2u) << "link up";
}

// The sum of 64 words is BABAh (manual, 5.6.35), and the first three are the address.
TEST_F(E1000Test, HasAnEepromWithItsAddressAndItsSum) {
  std::uint16_t sum = 0;
  for (std::uint32_t word = 0; word < 64; ++word) {
    set(e1000::reg::eerd, word << 8 | 1);
    const std::uint32_t answer = get(e1000::reg::eerd);
    EXPECT_NE(answer & 0x10, 0u);
    sum = static_cast<std::uint16_t>(sum + (answer >> 16));
    if (word == 0) {
      EXPECT_EQ(answer >> 16, 0x5452u);
    }
  }
  EXPECT_EQ(sum, 0xbaba);
}

// As a driver reads it bit by bit: start bit and opcode 110, six bits of address, sixteen bits come back.
TEST_F(E1000Test, GivesTheSameWordsOverTheEepromsWires) {
  const auto clock = [this](bool bit) {
    const std::uint32_t wires = 0x42 | (bit ? 4u : 0u);
    set(e1000::reg::eecd, wires);
    set(e1000::reg::eecd, wires | 1);
    const bool out = (get(e1000::reg::eecd) & 8) != 0;
    set(e1000::reg::eecd, wires);
    return out;
  };
  set(e1000::reg::eecd, 0x40);
  EXPECT_NE(get(e1000::reg::eecd) & 0x80, 0u) << "granted";
  set(e1000::reg::eecd, 0x42);
  for (const bool bit : {true, true, false, false, false, false, false, false, true}) clock(bit);
  unsigned word = 0;
  for (int n = 0; n < 16; ++n) word = word << 1 | (clock(false) ? 1u : 0u);
  EXPECT_EQ(word, 0x1200u);
}

// Manual, 13.4.4: the operation in bits 27:26, PHY 1; the identity is what Linux looks for
// (M88E1011_I_PHY_ID).
TEST_F(E1000Test, HasAPhyWithALink) {
  const auto phy = [this](std::uint32_t reg) {
    set(e1000::reg::mdic, 1u << 27 | 1u << 21 | reg << 16);
    EXPECT_EQ(get(e1000::reg::mdic) & 0x5000'0000u, 0x1000'0000u);
    return get(e1000::reg::mdic) & 0xffff;
  };
  EXPECT_EQ(phy(2), 0x0141u);
  EXPECT_EQ(phy(3) & 0xfff0, 0x0c20u);
  EXPECT_EQ(phy(1) & 0x24, 0x24u);
  set(e1000::reg::mdic, 1u << 27 | 2u << 21);
  EXPECT_NE(get(e1000::reg::mdic) & 0x4000'0000u, 0u) << "nobody is at address 2";
}

TEST_F(E1000Test, SendsAFrameOfSeveralDescriptorsAndReportsThem) {
  start();
  const Bytes sent = frame(100);
  board.put_bytes(data_at, sent);
  transmit({{data_at, 60, 0}, {data_at + 60, 40 | e1000::txd::eop | e1000::txd::rs, 0}});
  EXPECT_THAT(network.seen, ElementsAre(sent));
  EXPECT_EQ(get(e1000::reg::tdh), 2u);
  EXPECT_EQ(board.get<std::uint32_t>(transmit_ring + 12) & 1, 0u) << "no report was asked for";
  EXPECT_EQ(board.get<std::uint32_t>(transmit_ring + 16 + 12) & 1, 1u);
  EXPECT_EQ(get(e1000::reg::gptc), 1u);
  EXPECT_EQ(get(e1000::reg::gptc), 0u) << "a read clears it";
}

// RFC 1071's own example: 00 01 f2 03 f4 f5 f6 f7 sum to ddf2, of which the checksum is the complement.
TEST_F(E1000Test, InsertsAChecksumWhereADescriptorAsksForIt) {
  start();
  Bytes sent(60);
  const std::uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  std::ranges::copy(std::as_bytes(std::span{example}), sent.begin() + 14);
  board.put_bytes(data_at, sent);
  transmit({{data_at, 60 | 40 << 16 | e1000::txd::eop | e1000::txd::ic, 14 << 8}});
  ASSERT_EQ(network.seen.size(), 1u);
  EXPECT_EQ(load_big16(network.seen[0], 40), 0x220d);
}

// A context for IPv4 at 14 and TCP at 34, with segments of 100 bytes (manual, 3.5).
TEST_F(E1000Test, CutsTcpIntoSegments) {
  start();
  Bytes sent(54 + 250);
  store_big16(sent, 18, 0x1234);  // identification
  store_big16(sent, 38, 0xffff);  // sequence number, 0xffff'fff0
  store_big16(sent, 40, 0xfff0);
  sent[47] = std::byte{0x19};  // ACK, PSH, FIN
  board.put_bytes(data_at, sent);
  const std::uint64_t places = 14 | 24 << 8 | 33ull << 16 | 34ull << 32 | 50ull << 40;
  const std::uint32_t tcp = e1000::txd::dext | e1000::txd::tucmd_tcp | e1000::txd::tucmd_ip | e1000::txd::tse;
  const std::uint32_t data = e1000::txd::dext | 1u << 20 | e1000::txd::tse | e1000::txd::eop;
  transmit({{places, tcp | 250, 54u << 8 | 100u << 16}, {data_at, data | (54 + 250), 3u << 8}});
  ASSERT_EQ(network.seen.size(), 3u);
  const std::size_t sizes[] = {154, 154, 104};
  for (std::size_t n = 0; n < 3; ++n) {
    const Bytes& seen = network.seen[n];
    EXPECT_EQ(seen.size(), sizes[n]);
    EXPECT_EQ(load_big16(seen, 16), sizes[n] - 14) << "the length of IPv4";
    EXPECT_EQ(load_big16(seen, 18), 0x1234 + n);
    EXPECT_EQ(load_big16(seen, 40), (0xfff0 + 100 * n) & 0xffff);
    EXPECT_EQ(seen[47], n == 2 ? std::byte{0x19} : std::byte{0x10});
    Bytes header(seen.begin() + 14, seen.begin() + 34);
    insert_checksum(header, {.at = 10});
    EXPECT_EQ(load_big16(header, 10), 0) << "a header with its checksum sums to nothing";
  }
  EXPECT_EQ(load_big16(network.seen[1], 38), 0) << "the sequence number has carried";
}

TEST_F(E1000Test, WritesAFrameWithItsCheckSequenceAndInterrupts) {
  start();
  set(e1000::reg::ims, e1000::interrupt::rxt0);
  const Bytes sent = frame(100);
  network.say(sent);
  EXPECT_EQ(received(0).length, 104);
  EXPECT_EQ(received(0).status & 3, 3) << "done, end of packet";
  EXPECT_EQ(board.get_bytes(data_at, 100), sent);
  EXPECT_EQ(board.get<std::uint32_t>(data_at + 100), frame_check(sent));
  EXPECT_TRUE(board.lines[slot].asserted());
  EXPECT_NE(get(e1000::reg::icr) & e1000::interrupt::rxt0, 0u);
  EXPECT_FALSE(board.lines[slot].asserted());
  EXPECT_EQ(get(e1000::reg::icr), 0u);
}

TEST_F(E1000Test, TellsTheDriverWhatAForgerWants) {
  start();
  Liar liar{{ring_entries + 5, 0xffff}, true};
  function.device().set_forger(&liar);
  network.say(frame(100));
  EXPECT_EQ(liar.honest.id, 0u);
  EXPECT_EQ(liar.honest.length, 104u);
  EXPECT_EQ(received(0).status, 0u) << "another is said to be done";
  for (const std::uint32_t place : {5u, 6u}) {
    EXPECT_EQ(received(place).status & 3, 3);
    EXPECT_EQ(received(place).length, 0xffff);
  }
  EXPECT_EQ(get(e1000::reg::rdh), 1u);
  function.device().set_forger(nullptr);
  network.say(frame(100));
  EXPECT_EQ(received(1).length, 104);
}

// The check value of CRC-32/ISO-HDLC, which is Ethernet's: that of "123456789".
TEST_F(E1000Test, CalculatesEthernetsCheckSequence) {
  EXPECT_EQ(frame_check(std::as_bytes(std::span{std::string_view{"123456789"}})), 0xcbf4'3926u);
}

TEST_F(E1000Test, PadsAShortFrame) {
  start(e1000::rctl::secrc);
  network.say(frame(42));
  EXPECT_EQ(received(0).length, 60);
}

TEST_F(E1000Test, PutsAFrameIntoSeveralBuffers) {
  start(e1000::rctl::secrc | 3u << e1000::rctl::bsize_shift);  // 256 bytes
  const Bytes sent = frame(600);
  network.say(sent);
  EXPECT_EQ(received(0).status & 2, 0);
  EXPECT_EQ(received(2).status & 2, 2);
  EXPECT_EQ(received(2).length, 600 - 512);
  EXPECT_EQ(board.get_bytes(data_at + 0x2000, 88), Bytes(sent.begin() + 512, sent.end()));
}

TEST_F(E1000Test, KeepsWhatFindsNoDescriptor) {
  start();
  for (std::uint32_t n = 0; n < ring_entries + 3; ++n) network.say(frame(60));
  EXPECT_EQ(get(e1000::reg::rdh), ring_entries - 1);
  set(e1000::reg::rdt, 2);
  EXPECT_EQ(get(e1000::reg::rdh), 2u);
  EXPECT_EQ(get(e1000::reg::gprc), ring_entries - 1 + 3);
}

TEST_F(E1000Test, TakesWhatIsMeantForItAlone) {
  start();
  const auto taken = [this](const MacAddress& to) {
    const std::uint32_t before = get(e1000::reg::rdh);
    network.say(frame(60, to));
    return get(e1000::reg::rdh) != before;
  };
  const MacAddress other{0x52, 0x54, 0, 0, 0, 1};
  const MacAddress group{0x01, 0xaa, 0x00, 0x12, 0x34, 0x56};
  EXPECT_TRUE(taken(default_mac));
  EXPECT_TRUE(taken({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_FALSE(taken(other));
  EXPECT_FALSE(taken(group));
  // Linux' own example, e1000_hash_mc_addr(): 01:AA:00:12:34:56 hashes to 563h at offset 0.
  set(e1000::reg::mta + 4 * (0x563 >> 5), 1u << (0x563 & 31));
  EXPECT_TRUE(taken(group));
  set(e1000::reg::rctl, e1000::rctl::en | e1000::rctl::upe);
  EXPECT_TRUE(taken(other));
}

TEST_F(E1000Test, TakesAVlansTagOffAndPutsItOn) {
  start(e1000::rctl::secrc);
  set(e1000::reg::ctrl, e1000::ctrl::vme);
  set(e1000::reg::vet, 0x8100);
  const Bytes untagged = frame(64);
  network.say(with_tag(untagged, 0x8100, 0x6005));
  EXPECT_EQ(received(0).length, 64);
  EXPECT_EQ(received(0).special, 0x6005);
  EXPECT_EQ(board.get_bytes(data_at, 64), untagged);
  transmit({{data_at, 64 | e1000::txd::eop | e1000::txd::vle, 0x6005u << 16}});
  EXPECT_THAT(network.seen, ElementsAre(with_tag(untagged, 0x8100, 0x6005)));
}

TEST_F(E1000Test, ReachesNoMoreThanThirtyTwoBitsOfAddress) {
  start();
  transmit({{1ull << 32 | data_at, 60 | e1000::txd::eop, 0}});
  EXPECT_THAT(network.seen, IsEmpty());
  EXPECT_EQ(get(e1000::reg::tdh), 0u) << "the ring stands";
}

TEST_F(E1000Test, DoesALongPieceOfWorkInSeveral) {
  constexpr std::uint32_t many = 1024;
  start();
  set(e1000::reg::tdlen, 16 * many);
  for (std::uint32_t n = 0; n < many; ++n)
    board.put(transmit_ring + 16 * n, e1000::TxDescriptor{data_at, 60 | e1000::txd::eop, 0});
  set(e1000::reg::tdt, many - 1);
  EXPECT_EQ(network.seen.size(), 256u);
  for (int n = 0; n < 3; ++n) board.clock.advance(1'000'000);
  EXPECT_EQ(network.seen.size(), many - 1);
}

TEST_F(E1000Test, IgnoresRingsThatAreNone) {
  start();
  set(e1000::reg::tdt, 0xffff);
  set(e1000::reg::rdt, 0xffff);
  network.say(frame(60));
  set(e1000::reg::tdlen, 0);
  set(e1000::reg::rdlen, 0);
  set(e1000::reg::tdt, 1);
  set(e1000::reg::rdt, 1);
  EXPECT_THAT(network.seen, IsEmpty());
}

TEST_F(E1000Test, IsAsAtFirstAfterAResetByPortsToo) {
  start();
  const auto io = static_cast<std::uint16_t>(board.bar(slot, 1));
  board.ports.write(io, 4, e1000::reg::ctrl);
  board.ports.write(static_cast<std::uint16_t>(io + 4), 4, e1000::ctrl::rst);
  EXPECT_EQ(get(e1000::reg::tctl), 0u);
  EXPECT_EQ(get(e1000::reg::rctl), 0u);
  EXPECT_FALSE(network.in_use());
  EXPECT_EQ(get(e1000::reg::ral), 0x1200'5452u);
}

}  // namespace
}  // namespace cbit::dev
