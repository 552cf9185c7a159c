#include "dev/virtio/virtio_net.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net_recorder.hpp"
#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using ::testing::ElementsAre;
using namespace spec::virtio_status;

constexpr std::uint64_t buffers_at = 0x60000;
constexpr std::uint64_t buffer_distance = 0x1000;
constexpr std::size_t header_bytes = 12;  // VIRTIO 1.2, 5.1.6

class VirtioNetDeviceTest : public ::testing::TestWithParam<Transport> {
 protected:
  void start(std::uint64_t refuse = 0) {
    auto created = VirtioNet::create(board.bus, {.device = "eth0", .requester = 8},
                                     {.queue_size = 8, .net = {.network = &network}});
    ASSERT_TRUE(created) << created.error().message;
    net = created->get();
    device = connect(board, GetParam(), std::move(*created));
    device->set_status(acknowledge | driver);
    device->set_driver_features(device->device_features() & ~refuse);
    device->set_status(acknowledge | driver | features_ok);
    device->enable_queue(0, receive.config());
    device->enable_queue(1, transmit.config());
    device->set_status(acknowledge | driver | features_ok | driver_ok);
    ASSERT_FALSE(device->broken());
  }
  static std::uint64_t buffer(std::uint16_t n) { return buffers_at + n * buffer_distance; }
  void add_buffers(std::uint16_t count, std::uint32_t bytes) {
    for (std::uint16_t n = 0; n < count; ++n, ++added_) {
      const auto place = static_cast<std::uint16_t>(added_ % 8);
      receive.desc(place, {buffer(place), bytes, spec::vring_flag::write, 0});
      receive.offer(place);
    }
    receive.publish();
    device->notify(0);
  }
  void send(std::uint32_t bytes) {
    transmit.desc(0, {0x50000, bytes, 0, 0});
    transmit.offer(0);
    transmit.publish();
    device->notify(1);
  }
  [[nodiscard]] std::uint16_t num_buffers(std::uint16_t n) {
    return board.get<std::uint16_t>(buffer(n) + offsetof(VirtioNetHdr, num_buffers));
  }

  VirtioBoard board;
  RecordingNetwork network;
  VirtioNet* net = nullptr;
  std::unique_ptr<DriverEnd> device;
  RawRing receive{board, 8};
  RawRing transmit{board, 8, 0x20000};

 private:
  unsigned added_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Over, VirtioNetDeviceTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

// VIRTIO 1.2, 5.1.4: mac, status, max_virtqueue_pairs, mtu.
TEST_P(VirtioNetDeviceTest, SaysItsAddressItsLinkAndItsMtu) {
  start();
  std::array<std::byte, 12> raw{};
  device->read_config(0, raw);
  EXPECT_EQ(load<std::uint32_t>(raw), 0x1200'5452u);
  EXPECT_EQ(load<std::uint16_t>(raw, 4), 0x5634);
  EXPECT_EQ(load<std::uint16_t>(raw, 6), 1) << "VIRTIO_NET_S_LINK_UP";
  EXPECT_EQ(load<std::uint16_t>(raw, 10), 1500);
}

TEST_P(VirtioNetDeviceTest, SendsWhatIsBehindTheHeader) {
  start();
  const Bytes frame = pattern_bytes(100, 3);
  board.put_bytes(0x50000 + header_bytes, frame);
  send(header_bytes + 100);
  EXPECT_THAT(network.seen, ElementsAre(frame));
  EXPECT_EQ(transmit.used_index(), 1);
}

TEST_P(VirtioNetDeviceTest, KeepsAFrameUntilThereIsABuffer) {
  start();
  const Bytes frame = pattern_bytes(60, 1);
  network.say(frame);
  EXPECT_EQ(receive.used_index(), 0);
  add_buffers(1, 2048);
  ASSERT_EQ(receive.used_index(), 1);
  EXPECT_EQ(receive.used_entry(0).len, header_bytes + 60);
  EXPECT_EQ(num_buffers(0), 1);
  EXPECT_EQ(board.get_bytes(buffer(0) + header_bytes, 60), frame);
  EXPECT_EQ(net->dropped(), 0u);
}

// 5.1.6.4: num_buffers says over how many buffers the packet goes, and all but the last are full.
TEST_P(VirtioNetDeviceTest, PutsAFrameIntoSeveralBuffers) {
  start();
  const Bytes frame = pattern_bytes(1000, 5);
  network.say(frame);
  add_buffers(1, 400);
  EXPECT_EQ(receive.used_index(), 0) << "not before there is room for all of it";
  add_buffers(2, 400);
  ASSERT_EQ(receive.used_index(), 3);
  EXPECT_EQ(num_buffers(0), 3);
  EXPECT_EQ(receive.used_entry(0).len, 400u);
  EXPECT_EQ(receive.used_entry(1).len, 400u);
  EXPECT_EQ(receive.used_entry(2).len, header_bytes + 1000 - 800);
  Bytes seen = board.get_bytes(buffer(0) + header_bytes, 400 - header_bytes);
  for (const auto n : {std::uint16_t{1}, std::uint16_t{2}}) {
    const Bytes more = board.get_bytes(buffer(n), receive.used_entry(n).len);
    seen.insert(seen.end(), more.begin(), more.end());
  }
  EXPECT_EQ(seen, frame);
}

TEST_P(VirtioNetDeviceTest, LosesAFrameThatDoesNotFitWhereBuffersAreNotMerged) {
  start(virtio_net_feature::mrg_rxbuf);
  add_buffers(2, 100);
  network.say(pattern_bytes(500, 1));
  EXPECT_EQ(net->dropped(), 1u);
  ASSERT_EQ(receive.used_index(), 1);
  EXPECT_EQ(receive.used_entry(0).len, 0u);
  network.say(pattern_bytes(50, 1));
  EXPECT_EQ(receive.used_entry(1).len, header_bytes + 50);
}

TEST_P(VirtioNetDeviceTest, GivesBackARingOfBuffersThatAreTooSmallForAnything) {
  start();
  add_buffers(8, 12);
  network.say(pattern_bytes(500, 1));
  EXPECT_EQ(net->dropped(), 1u);
  EXPECT_EQ(receive.used_index(), 8);
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioNetDeviceTest, DropsWhatIsLongerThanEthernetsFrames) {
  start();
  send(header_bytes + tagged_frame_max);
  send(header_bytes + tagged_frame_max + 1);
  EXPECT_EQ(network.seen.size(), 1u);
  EXPECT_EQ(net->dropped(), 1u);
}

TEST_P(VirtioNetDeviceTest, TakesNothingBeforeItsDriverRunsNorAfterAReset) {
  start();
  EXPECT_TRUE(network.in_use());
  add_buffers(1, 2048);
  device->set_status(0);
  EXPECT_FALSE(network.in_use());
  network.say(pattern_bytes(60, 1));
  EXPECT_EQ(receive.used_index(), 0);
}

TEST_P(VirtioNetDeviceTest, StopsAtABufferInTheWrongDirection) {
  start();
  receive.desc(0, {buffer(0), 2048, 0, 0});
  receive.offer(0);
  receive.publish();
  network.say(pattern_bytes(60, 1));
  EXPECT_TRUE(device->broken());
  EXPECT_FALSE(network.in_use());
}

TEST(NetBackend, KeepsABoundedNumberOfFramesAndNoneThatIsTooLong) {
  class Counting final : public NetEnd {
   public:
    bool receive(ConstByteSpan) override { return is_open && ++count != 0; }
    bool is_open = false;
    unsigned count = 0;
  };
  RecordingNetwork network;
  Counting device;
  network.connect(&device);
  network.say(Bytes(tagged_frame_max + 1));
  for (std::size_t n = 0; n < 2 * NetBackend::waiting_max; ++n) network.say(Bytes(60));
  device.is_open = true;
  network.has_room();
  EXPECT_EQ(device.count, NetBackend::waiting_max);
}

TEST(MacAddress, IsSixBytesOfOneStation) {
  EXPECT_EQ(parse_mac("52:54:00:ab:CD:ef"), (MacAddress{0x52, 0x54, 0, 0xab, 0xcd, 0xef}));
  for (const std::string_view none :
       {"", "52:54:00:12:34", "52:54:00:12:34:5", "52-54-00-12-34-56", "52:54:00:12:34:5g",
        "53:54:00:12:34:56", "00:00:00:00:00:00", "52:54:00:12:34:56:", "ff:ff:ff:ff:ff:ff"})
    EXPECT_EQ(parse_mac(none), std::nullopt) << none;
}

}  // namespace
}  // namespace cbit::dev
