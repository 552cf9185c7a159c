#include "dev/virtio/virtio_vsock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtio_transports.hpp"
#include "vsock_host.hpp"

namespace cbit::dev {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace spec::virtio_status;
using Kind = VsockWord::Kind;

constexpr std::uint16_t queue_size = 8;
constexpr std::uint64_t buffers_at = 0x80000;
constexpr std::uint64_t packet_at = 0x60000;
constexpr std::size_t header_bytes = 44;  // VIRTIO 1.2, 5.10.6
constexpr std::uint16_t request = 1, response = 2, rst = 3, rw = 5;
constexpr VsockFlow flow{.host_port = 1234, .guest_port = 5000};

class VirtioVsockTest : public ::testing::TestWithParam<Transport> {
 protected:
  void start(VsockBackend* sockets, std::uint64_t cid = 3) {
    auto created = VirtioVsock::create(board.bus, {.device = "vsock", .requester = 8},
                                       {.queue_size = queue_size, .guest_cid = cid, .sockets = sockets});
    ASSERT_TRUE(created) << created.error().message;
    vsock = created->get();
    device = connect(board, GetParam(), std::move(*created));
    run();
  }
  void run() {
    device->set_status(acknowledge | driver);
    device->set_driver_features(device->device_features() & ~spec::virtio_feature::event_idx);
    device->set_status(acknowledge | driver | features_ok);
    rings.clear();
    for (std::uint16_t n = 0; n < 3; ++n) {
      rings.emplace_back(board, queue_size, 0x10000 + 0x4000u * n);
      board.put<std::uint32_t>(rings[n].avail(), 0);
      board.put<std::uint32_t>(rings[n].used(), 0);
      device->enable_queue(n, rings[n].config());
    }
    device->set_status(acknowledge | driver | features_ok | driver_ok);
    offered = sent = used = 0;
  }
  static std::uint64_t buffer(unsigned n) { return buffers_at + 0x1000u * n; }
  void add_buffers(unsigned count, std::uint32_t bytes = 1024) {
    for (unsigned n = 0; n < count; ++n, ++offered) {
      const auto slot = static_cast<std::uint16_t>(offered % queue_size);
      rings[0].desc(slot, {buffer(slot), bytes, spec::vring_flag::write, 0});
      rings[0].offer(slot);
    }
    rings[0].publish();
    device->notify(0);
  }
  static Bytes packet(std::uint16_t op, const Bytes& payload = {}) {
    const spec::VirtioVsockHdr header{.src_cid = 3,
                                      .dst_cid = 2,
                                      .src_port = flow.guest_port,
                                      .dst_port = flow.host_port,
                                      .len = static_cast<std::uint32_t>(payload.size()),
                                      .type = 1,
                                      .op = op,
                                      .buf_alloc = 1 << 20};
    const ConstByteSpan head = bytes_of(header);
    Bytes whole{head.begin(), head.end()};
    whole.insert(whole.end(), payload.begin(), payload.end());
    return whole;
  }
  // In two pieces, as net/vmw_vsock/virtio_transport.c has it: header, payload.
  void send(const Bytes& whole) {
    const auto slot = static_cast<std::uint16_t>(2 * (sent++ % (queue_size / 2)));
    const std::uint64_t at = packet_at + 0x1000u * slot;
    const auto head = static_cast<std::uint32_t>(std::min(whole.size(), header_bytes));
    board.put_bytes(at, whole);
    const bool one = whole.size() <= header_bytes;
    rings[1].desc(slot, {at, head, one ? std::uint16_t{0} : spec::vring_flag::next,
                         static_cast<std::uint16_t>(slot + 1)});
    rings[1].desc(slot + 1u, {at + head, static_cast<std::uint32_t>(whole.size() - head), 0, 0});
    rings[1].offer(slot);
    rings[1].publish();
    device->notify(1);
  }
  // The next packet that the guest has: its operation; 0: none.
  std::uint16_t received(Bytes* payload = nullptr) {
    if (rings[0].used_index() == used) return 0;
    const auto entry = rings[0].used_entry(used++);
    const Bytes whole = board.get_bytes(buffer(entry.id), entry.len);
    EXPECT_GE(whole.size(), header_bytes);
    if (payload != nullptr) payload->assign(whole.begin() + header_bytes, whole.end());
    return load<std::uint16_t>(whole, 30);
  }
  void open() {
    add_buffers(4);
    send(packet(request));
    host.say(Kind::opened, flow);
    vsock->host_has_spoken();
    ASSERT_EQ(received(), response);
    host.heard();
  }

  VirtioBoard board;
  VsockHost host;
  VirtioVsock* vsock = nullptr;
  std::unique_ptr<DriverEnd> device;
  std::vector<RawRing> rings;
  unsigned offered = 0, sent = 0;
  std::uint16_t used = 0;
};

INSTANTIATE_TEST_SUITE_P(Over, VirtioVsockTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

// 5.10.1 to 5.10.4: type 19, three queues, the guest's CID.
TEST_P(VirtioVsockTest, IsADeviceWithThreeQueuesThatTellsTheGuestItsCid) {
  start(&host, 0xffff'fffe);
  EXPECT_EQ(device->hardware().device_id(), 19);
  EXPECT_EQ(device->hardware().queue_count(), 3);
  EXPECT_EQ(device->device_features() & 3, 1u) << "streams, and no SEQPACKET";
  std::array<std::byte, 12> raw{};
  device->read_config(0, raw);
  EXPECT_EQ(load<std::uint64_t>(raw), 0xffff'fffeu);
  EXPECT_EQ(load<std::uint32_t>(raw, 8), 0u);
}

TEST_P(VirtioVsockTest, HasNoReservedCid) {
  for (const std::uint64_t cid : {0ull, 1ull, 2ull, 0xffff'ffffull, 1ull << 32, ~0ull})
    EXPECT_FALSE(VirtioVsock::create(board.bus, {.device = "v", .requester = 8}, {.guest_cid = cid})) << cid;
  EXPECT_FALSE(VirtioVsock::create(board.bus, {.device = "v", .requester = 8}, {.queue_size = 100}));
}

TEST_P(VirtioVsockTest, PassesBytesOnInBothDirections) {
  start(&host);
  open();
  const Bytes there = pattern_bytes(700, 1), back = pattern_bytes(900, 2);
  send(packet(rw, there));
  EXPECT_EQ(host.written, there);
  EXPECT_EQ(rings[1].used_index(), 2);
  host.send(flow, back);
  vsock->host_has_spoken();
  Bytes seen;
  EXPECT_EQ(received(&seen), rw);
  EXPECT_EQ(seen, back);
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioVsockTest, CutsWhatTheHostSendsIntoTheGuestsBuffers) {
  start(&host);
  open();
  const Bytes back = pattern_bytes(2000, 2);
  host.send(flow, back);
  vsock->host_has_spoken();
  add_buffers(1);
  Bytes all, part;
  std::vector<std::size_t> sizes;
  while (received(&part) == rw) {
    sizes.push_back(part.size());
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_THAT(sizes, ElementsAre(1024 - header_bytes, 1024 - header_bytes, 2000 - 2 * (1024 - header_bytes)));
  EXPECT_EQ(all, back);
}

TEST_P(VirtioVsockTest, KeepsWhatFindsNoBuffer) {
  start(&host);
  send(packet(request));
  host.say(Kind::opened, flow);
  vsock->host_has_spoken();
  EXPECT_EQ(received(), 0);
  add_buffers(1);
  EXPECT_EQ(received(), response);
}

// 5.10.6.1: processing stops when answers have no place, and goes on when the other side has taken some.
TEST_P(VirtioVsockTest, LeavesPacketsInTheQueueWhileTheGuestFetchesNoAnswers) {
  start(&host);
  for (std::size_t n = 0; n < VsockTable::answers_max + 3; ++n) send(packet(rw));
  EXPECT_EQ(rings[1].used_index(), VsockTable::answers_max);
  add_buffers(2);
  EXPECT_EQ(rings[1].used_index(), VsockTable::answers_max + 2);
  add_buffers(2);
  EXPECT_EQ(rings[1].used_index(), VsockTable::answers_max + 3);
  EXPECT_EQ(received(), rst);
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioVsockTest, UsesOnlyThePayloadThatTheHeaderTellsOf) {
  start(&host);
  open();
  Bytes whole = packet(rw, pattern_bytes(100, 1));
  store(whole, 24, std::uint32_t{60});
  send(whole);
  EXPECT_EQ(host.written, pattern_bytes(60, 1));
}

TEST_P(VirtioVsockTest, StopsAtPacketsAndBuffersThatAreNone) {
  start(&host);
  send(Bytes(header_bytes - 1));
  EXPECT_TRUE(device->broken());
  for (const std::uint32_t length : {101u, 0xffff'ffffu}) {
    device->set_status(0);
    run();
    Bytes whole = packet(rw, Bytes(100));
    store(whole, 24, length);
    send(whole);
    EXPECT_TRUE(device->broken()) << length;
  }
  device->set_status(0);
  run();
  add_buffers(1, header_bytes);
  EXPECT_FALSE(device->broken());
  send(packet(rw));
  EXPECT_TRUE(device->broken()) << "a receive buffer without room for a byte";
  device->set_status(0);
  run();
  rings[1].desc(0, {packet_at, header_bytes, spec::vring_flag::write, 0});
  rings[1].offer(0);
  rings[1].publish();
  device->notify(1);
  EXPECT_TRUE(device->broken()) << "a writable buffer in the transmit queue";
}

TEST_P(VirtioVsockTest, EndsItsConnectionsWhenTheDriverGoes) {
  start(&host);
  EXPECT_TRUE(host.in_use());
  open();
  device->set_status(0);
  EXPECT_THAT(host.heard(), ElementsAre("close 1234:5000"));
  EXPECT_FALSE(host.in_use());
  host.send(flow, Bytes(10));
  host.serve({});
  EXPECT_EQ(received(), 0);
  run();
  EXPECT_TRUE(host.in_use());
  add_buffers(1);
  send(packet(rw));
  EXPECT_EQ(received(), rst) << "what was open is not any more";
}

TEST_P(VirtioVsockTest, WithoutSocketsAtTheHostRefusesAll) {
  start(nullptr);
  add_buffers(2);
  send(packet(request));
  EXPECT_EQ(received(), rst);
}

}  // namespace
}  // namespace cbit::dev
