// Expected values are those of VIRTIO 1.2, 5.10.6, and of include/uapi/linux/virtio_vsock.h, written down
// here as numbers.
#include "dev/virtio/vsock_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vsock_host.hpp"

namespace cbit::dev {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = VsockWord::Kind;

constexpr std::uint64_t guest = 3, host = 2;
constexpr std::uint16_t request = 1, response = 2, rst = 3, shut = 4, rw = 5, credit_update = 6,
                        credit_request = 7;
constexpr VsockFlow flow{.host_port = 1234, .guest_port = 5000};
constexpr std::uint32_t most = VsockTable::buffer_bytes;

class VsockTableTest : public ::testing::Test {
 protected:
  static spec::VirtioVsockHdr packet(std::uint16_t op, std::uint32_t len = 0) {
    return {.src_cid = guest,
            .dst_cid = host,
            .src_port = flow.guest_port,
            .dst_port = flow.host_port,
            .len = len,
            .type = 1,
            .op = op,
            .buf_alloc = 1 << 20};
  }
  void send(std::uint16_t op, std::uint32_t flags = 0) {
    auto header = packet(op);
    header.flags = flags;
    table.receive(header, {});
  }
  void send_data(std::uint32_t bytes) { table.receive(packet(rw, bytes), Bytes(bytes)); }
  // "OP FLAGS LEN", of all that waits for the guest.
  std::vector<std::string> told(std::uint32_t payload_max = most) {
    std::vector<std::string> all;
    while (table.has_packets()) {
      last = table.next(payload_max);
      EXPECT_EQ(std::uint32_t{last.header.len}, last.payload.size());
      all.push_back(fmt::format("{} {} {}", +last.header.op, +last.header.flags, +last.header.len));
    }
    return all;
  }
  void connect_from_guest() {
    send(request);
    host_end.say(Kind::opened, flow);
    table.hear_host();
    ASSERT_THAT(told(), ElementsAre("2 0 0"));
    host_end.heard();
  }

  VsockHost host_end;
  VsockTable table{guest, &host_end};
  VsockTable::Packet last;
};

TEST_F(VsockTableTest, AnswersARequestWhenTheHostHasAListener) {
  send(request);
  EXPECT_THAT(host_end.heard(), ElementsAre("open 1234:5000"));
  EXPECT_THAT(told(), IsEmpty()) << "not before the host has said so";
  host_end.say(Kind::opened, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("2 0 0"));
  EXPECT_EQ(+last.header.src_cid, host);
  EXPECT_EQ(+last.header.dst_cid, guest);
  EXPECT_EQ(+last.header.src_port, 1234u);
  EXPECT_EQ(+last.header.dst_port, 5000u);
  EXPECT_EQ(+last.header.type, 1);
  EXPECT_EQ(+last.header.buf_alloc, most);
  EXPECT_THAT(host_end.heard(), ElementsAre(fmt::format("allow 1234:5000 {}", most)));
}

TEST_F(VsockTableTest, AnswersARequestWithRstWhereNobodyListens) {
  send(request);
  host_end.say(Kind::closed, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  EXPECT_EQ(table.connections(), 0u);
  VsockTable alone{guest, nullptr};
  alone.receive(packet(request), {});
  ASSERT_TRUE(alone.has_packets());
  EXPECT_EQ(+alone.next(most).header.op, rst) << "a device that is connected to nothing";
}

TEST_F(VsockTableTest, CallsTheGuestAndTellsTheHostWhenItHasAnswered) {
  host_end.say(Kind::connect, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("1 0 0"));
  EXPECT_EQ(+last.header.buf_alloc, most) << "credit is in each packet of a connection";
  EXPECT_THAT(host_end.heard(), IsEmpty());
  send(response);
  EXPECT_THAT(host_end.heard(), ElementsAre("accept 1234:5000", fmt::format("allow 1234:5000 {}", most)));
  host_end.send(flow, Bytes(10));
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("5 0 10"));
}

TEST_F(VsockTableTest, EndsACallThatTheGuestRefusesOrTheCallerGivesUp) {
  host_end.say(Kind::connect, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("1 0 0"));
  send(rst);
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000"));
  EXPECT_THAT(told(), IsEmpty()) << "RST has no answer";
  host_end.say(Kind::connect, flow);
  host_end.say(Kind::deaf, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("1 0 0", "3 0 0"));
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000"));
}

TEST_F(VsockTableTest, GivesTheHostWhatTheGuestSendsAndCreditBack) {
  connect_from_guest();
  send_data(most / 2);
  EXPECT_THAT(host_end.heard(), ElementsAre(fmt::format("write 1234:5000 {}", most / 2)));
  host_end.say(Kind::taken, flow, most / 2);
  table.hear_host();
  EXPECT_THAT(told(), IsEmpty()) << "the guest still knows of half of the buffer";
  send_data(most / 2);
  host_end.say(Kind::taken, flow, most / 2);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("6 0 0"));
  EXPECT_EQ(+last.header.fwd_cnt, most);
  send(credit_request);
  EXPECT_THAT(told(), ElementsAre("6 0 0"));
}

// 5.10.6.3: peer_free = peer_buf_alloc - (tx_cnt - peer_fwd_cnt).
TEST_F(VsockTableTest, SendsNoMoreThanTheGuestHasRoomFor) {
  connect_from_guest();
  auto credit = packet(credit_update);
  credit.buf_alloc = 100;
  table.receive(credit, {});
  host_end.heard();
  host_end.send(flow, Bytes(250));
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("5 0 100"));
  credit.fwd_cnt = 60;
  table.receive(credit, {});
  EXPECT_THAT(told(), ElementsAre("5 0 60"));
  credit.buf_alloc = 50;
  table.receive(credit, {});
  EXPECT_THAT(told(), IsEmpty()) << "a buffer may become smaller than what is in it";
  credit.fwd_cnt = 1 << 30;
  table.receive(credit, {});
  EXPECT_THAT(told(), IsEmpty()) << "more than it was sent";
  credit.fwd_cnt = 160;
  credit.buf_alloc = 1000;
  table.receive(credit, {});
  EXPECT_THAT(told(40), ElementsAre("5 0 40", "5 0 40", "5 0 10")) << "as it fits into buffers";
}

TEST_F(VsockTableTest, LetsTheHostSendAsMuchAsWaitsNowhereElse) {
  connect_from_guest();
  host_end.send(flow, Bytes(most));
  table.hear_host();
  EXPECT_THAT(host_end.heard(), IsEmpty());
  EXPECT_EQ(told(most / 2 - 1).size(), 3u);
  EXPECT_THAT(host_end.heard(), ElementsAre(fmt::format("allow 1234:5000 {}", most - 2)))
      << "not for a few bytes each time";
}

TEST_F(VsockTableTest, KeepsNothingOfAHostThatSendsMoreThanItMay) {
  connect_from_guest();
  host_end.send(flow, Bytes(most + 100));
  host_end.say(Kind::taken, flow, 1000);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre(fmt::format("5 0 {}", most)));
  EXPECT_EQ(+last.header.fwd_cnt, 0u);
}

TEST_F(VsockTableTest, SendsTheConnectionsDataInTurns) {
  connect_from_guest();
  constexpr VsockFlow other{.host_port = 1234, .guest_port = 5001};
  auto header = packet(request);
  header.src_port = other.guest_port;
  table.receive(header, {});
  host_end.say(Kind::opened, other);
  host_end.send(flow, Bytes(20));
  host_end.send(other, Bytes(15));
  table.hear_host();
  EXPECT_THAT(told(10), ElementsAre("2 0 0", "5 0 10", "5 0 10", "5 0 10", "5 0 5"));
}

// ---- ends -----------------------------------------------------------------------------------------------

TEST_F(VsockTableTest, EndsAConnectionThatTheGuestHasShutInBothDirections) {
  connect_from_guest();
  send(shut, 2);
  EXPECT_THAT(host_end.heard(), ElementsAre("shut 1234:5000 sends"));
  EXPECT_THAT(told(), IsEmpty());
  send(shut, 0);
  EXPECT_THAT(host_end.heard(), IsEmpty()) << "what was said once holds";
  send(shut, 1);
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000"));
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  EXPECT_EQ(table.connections(), 0u);
}

TEST_F(VsockTableTest, TellsThatTheHostSendsNoMoreBehindWhatItHasSent) {
  connect_from_guest();
  host_end.send(flow, Bytes(30));
  host_end.say(Kind::ended, flow);
  table.hear_host();
  EXPECT_THAT(told(20), ElementsAre("5 0 20", "5 0 10", "4 2 0"));
  send_data(5);
  EXPECT_THAT(host_end.heard(), ElementsAre("write 1234:5000 5")) << "the other direction is open";
  host_end.say(Kind::deaf, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("4 3 0"));
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000"));
  EXPECT_EQ(table.connections(), 1u) << "its ports are taken until the guest's RST";
  send(rst);
  EXPECT_EQ(table.connections(), 0u);
  EXPECT_THAT(host_end.heard(), IsEmpty());
}

TEST_F(VsockTableTest, SendsNothingToAGuestThatTakesNoMore) {
  connect_from_guest();
  host_end.send(flow, Bytes(30));
  table.hear_host();
  send(shut, 1);
  EXPECT_THAT(told(), IsEmpty());
  host_end.send(flow, Bytes(30));
  table.hear_host();
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_THAT(host_end.heard(), ElementsAre("shut 1234:5000 takes"));
}

TEST_F(VsockTableTest, ForgetsAllWhenTheDriverGoes) {
  connect_from_guest();
  host_end.send(flow, Bytes(30));
  host_end.say(Kind::connect, {.host_port = 7, .guest_port = 8});
  table.reset();
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000", "close 7:8"));
  EXPECT_FALSE(table.has_packets());
  EXPECT_FALSE(host_end.take());
}

// ---- a hostile guest ------------------------------------------------------------------------------------

TEST_F(VsockTableTest, AnswersWhatBelongsToNoConnectionWithRst) {
  for (const std::uint16_t op : {response, shut, rw, credit_update, credit_request, std::uint16_t{0},
                                 std::uint16_t{8}, std::uint16_t{0xffff}}) {
    send(op);
    EXPECT_THAT(told(), ElementsAre("3 0 0")) << op;
  }
  send(rst);
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_THAT(host_end.heard(), IsEmpty());
}

TEST_F(VsockTableTest, AnswersATypeThatItDoesNotKnowWithRstOfThatType) {
  for (const std::uint16_t type : std::initializer_list<std::uint16_t>{0, 2, 3, 0xffff}) {
    auto header = packet(request);
    header.type = type;
    table.receive(header, {});
    EXPECT_THAT(told(), ElementsAre("3 0 0"));
    EXPECT_EQ(+last.header.type, type);
  }
  EXPECT_THAT(host_end.heard(), IsEmpty());
}

TEST_F(VsockTableTest, RefusesOtherCidsThanTheHostsAndHearsNoOtherThanTheGuests) {
  auto header = packet(request);
  header.dst_cid = 7;
  table.receive(header, {});
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  EXPECT_EQ(+last.header.src_cid, 7u);
  header = packet(request);
  header.dst_cid = host | 1ull << 32;  // the upper half is reserved
  table.receive(header, {});
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  header = packet(request);
  header.src_cid = 4;
  table.receive(header, {});
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_THAT(host_end.heard(), IsEmpty());
}

TEST_F(VsockTableTest, EndsAConnectionWhoseGuestSendsMoreThanThereIsRoomFor) {
  connect_from_guest();
  send_data(most);
  send_data(1);
  EXPECT_THAT(host_end.heard(), ElementsAre(fmt::format("write 1234:5000 {}", most), "close 1234:5000"));
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  connect_from_guest();
  table.receive(packet(rw, 0xffff'ffff), {});
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000"));
}

TEST_F(VsockTableTest, EndsAConnectionWhoseRulesTheGuestBreaks) {
  send(request);
  send_data(1);
  EXPECT_THAT(host_end.heard(), ElementsAre("open 1234:5000", "close 1234:5000")) << "before it is open";
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  connect_from_guest();
  send(shut, 2);
  send_data(1);
  EXPECT_THAT(host_end.heard(), ElementsAre("shut 1234:5000 sends", "close 1234:5000"));
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  for (const std::uint16_t op : {request, response, std::uint16_t{0}, std::uint16_t{99}}) {
    connect_from_guest();
    send(op);
    EXPECT_THAT(host_end.heard(), ElementsAre("close 1234:5000")) << op;
    EXPECT_THAT(told(), ElementsAre("3 0 0"));
  }
}

TEST_F(VsockTableTest, HasABoundedNumberOfConnectionsAndOfAnswers) {
  for (std::uint32_t n = 0; n <= VsockTable::connections_max; ++n) {
    auto header = packet(request);
    header.src_port = n;
    table.receive(header, {});
  }
  EXPECT_EQ(table.connections(), VsockTable::connections_max);
  EXPECT_EQ(host_end.heard().size(), VsockTable::connections_max);
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  host_end.say(Kind::connect, {.host_port = 1, .guest_port = 1});
  table.hear_host();
  EXPECT_THAT(host_end.heard(), ElementsAre("close 1:1"));
  ASSERT_TRUE(table.has_room());
  for (std::size_t n = 0; n < VsockTable::answers_max; ++n) {
    auto header = packet(rw);
    header.src_port = 0xffff'0000;
    table.receive(header, {});
  }
  EXPECT_FALSE(table.has_room());
}

TEST_F(VsockTableTest, GivesThePlaceOfAConnectionThatIsOverToAnother) {
  connect_from_guest();
  host_end.say(Kind::ended, flow);
  host_end.say(Kind::deaf, flow);
  table.hear_host();
  EXPECT_THAT(told(), ElementsAre("4 2 0", "4 3 0"));
  for (std::uint32_t n = 1; n <= VsockTable::connections_max; ++n) {
    auto header = packet(request);
    header.src_port = flow.guest_port + n;
    table.receive(header, {});
  }
  EXPECT_EQ(table.connections(), VsockTable::connections_max);
  EXPECT_THAT(told(), ElementsAre("3 0 0"));
  EXPECT_EQ(+last.header.dst_port, flow.guest_port);
}

}  // namespace
}  // namespace cbit::dev
