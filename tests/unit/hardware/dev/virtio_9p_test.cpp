#include "dev/virtio/virtio_9p.hpp"

#include <gtest/gtest.h>

#include "support/host_folder.hpp"
#include "support/p9_messages.hpp"
#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using namespace spec::virtio_status;
using namespace test;

constexpr std::uint64_t request_at = 0x80000;
constexpr std::uint64_t answer_at = 0xa0000;
constexpr std::uint32_t answer_bytes = 0x3000;

class Virtio9pTest : public ::testing::TestWithParam<Transport> {
 protected:
  void start(const Virtio9pOptions& options = {.queue_size = 8}) {
    auto created = Virtio9p::create(board.bus, {.device = "share", .requester = 8}, *host.shared, options);
    ASSERT_TRUE(created) << created.error().message;
    share = created->get();
    device = connect(board, GetParam(), std::move(*created));
    run();
  }
  void run() {
    device->set_status(acknowledge | driver);
    device->set_driver_features(device->device_features() & ~spec::virtio_feature::event_idx);
    device->set_status(acknowledge | driver | features_ok);
    ring = RawRing{board, 8};
    board.put<std::uint32_t>(ring.avail(), 0);
    board.put<std::uint32_t>(ring.used(), 0);
    device->enable_queue(0, ring.config());
    device->set_status(acknowledge | driver | features_ok | driver_ok);
    served = 0;
  }
  // As net/9p/trans_virtio.c: what the device reads, then what it writes, here in two pieces each.
  void offer(const Bytes& message, std::uint32_t room = answer_bytes) {
    const auto bytes = static_cast<std::uint32_t>(message.size());
    board.put_bytes(request_at, message);
    const std::uint16_t next = spec::vring_flag::next, write = spec::vring_flag::write;
    ring.desc(0, {request_at, 4, next, 1});
    ring.desc(1, {request_at + 4, bytes - 4, next, 2});
    ring.desc(2, {answer_at, 8, static_cast<std::uint16_t>(write | next), 3});
    ring.desc(3, {answer_at + 8, room - 8, write, 0});
    ring.offer(0);
    ring.publish();
    device->notify(0);
  }
  P9Answer ask(const Bytes& message, std::uint32_t room = answer_bytes) {
    offer(message, room);
    EXPECT_EQ(ring.used_index(), served + 1);
    const auto used = ring.used_entry(served++);
    P9Answer answer{board.get_bytes(answer_at, used.len)};
    EXPECT_EQ(answer.size, used.len);
    return answer;
  }
  void mount() {
    ASSERT_EQ(ask(p9_ask_version()).error, 0);
    ASSERT_EQ(ask(p9_ask_attach(1)).error, 0);
  }

  HostFolder host;
  VirtioBoard board;
  Virtio9p* share = nullptr;
  std::unique_ptr<DriverEnd> device;
  RawRing ring{board, 8};
  std::uint16_t served = 0;
};
INSTANTIATE_TEST_SUITE_P(Over, Virtio9pTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

TEST_P(Virtio9pTest, TellsItsTag) {
  start({.queue_size = 8, .tag = "home"});
  EXPECT_EQ(device->device_features() & 1, spec::virtio_9p_feature::mount_tag);
  EXPECT_EQ(device->hardware().queue_count(), 1);
  std::array<std::byte, 8> config{};
  device->read_config(0, config);
  EXPECT_EQ(load<std::uint16_t>(config), 4);
  EXPECT_EQ((std::string{reinterpret_cast<const char*>(config.data()) + 2, 4}), "home");
  EXPECT_EQ(load<std::uint16_t>(config, 6), 0);
}

TEST_P(Virtio9pTest, LetsAGuestReadAFile) {
  start();
  mount();
  ASSERT_EQ(ask(p9_ask_walk(1, 2, {"file"})).error, 0);
  ASSERT_EQ(ask(p9_ask_open(2)).error, 0);
  EXPECT_EQ(ask(p9_ask_read(2, 0, 100)).data(), HostFolder::words);
  EXPECT_EQ(device->interrupts().size(), 5u);
  EXPECT_FALSE(device->broken());
}

TEST_P(Virtio9pTest, WritesNoMoreThanThereIsRoomFor) {
  start();
  mount();
  host.write("large", std::string(5000, 'x'));
  ASSERT_EQ(ask(p9_ask_walk(1, 2, {"large"})).error, 0);
  ASSERT_EQ(ask(p9_ask_open(2)).error, 0);
  board.put<std::uint32_t>(answer_at + 100, 0xfeed);
  EXPECT_EQ(ask(p9_ask_read(2, 0, 5000), 100).data().size(), 89u);
  EXPECT_EQ(board.get<std::uint32_t>(answer_at + 100), 0xfeedu);
}

TEST_P(Virtio9pTest, AnswersASizeThatIsNotThatOfTheRequest) {
  start();
  mount();
  for (const std::uint32_t size : {0u, 7u, 20u, 400u, 0x7fff'ffffu, 0xffff'ffffu}) {
    Bytes message = p9_ask_attach(3);
    store(message, 0, size);
    EXPECT_EQ(ask(message).error, EINVAL) << size;
  }
  EXPECT_FALSE(device->broken());
}

TEST_P(Virtio9pTest, StopsAtARequestWithoutHeaderOrRoom) {
  start();
  offer(Bytes(6));
  EXPECT_TRUE(device->broken());
  device->set_status(0);
  run();
  EXPECT_FALSE(device->broken());
  offer(p9_ask_version(), 10);
  EXPECT_TRUE(device->broken());
}

TEST_P(Virtio9pTest, ForgetsEverythingAtAReset) {
  start();
  mount();
  EXPECT_EQ(share->server().fids(), 1u);
  device->set_status(0);
  EXPECT_EQ(share->server().fids(), 0u);
  run();
  EXPECT_EQ(ask(p9_ask_attach(1)).error, EINVAL);
  mount();
}

TEST_P(Virtio9pTest, RefusesOptionsThatAreNone) {
  const auto make = [this](const Virtio9pOptions& options) {
    return Virtio9p::create(board.bus, {.device = "share", .requester = 8}, *host.shared, options)
        .has_value();
  };
  EXPECT_TRUE(make({}));
  EXPECT_FALSE(make({.tag = ""}));
  EXPECT_FALSE(make({.tag = std::string(33, 'x')}));
  EXPECT_FALSE(make({.queue_size = 100}));
  EXPECT_FALSE(make({.virtio = {.legacy = true}}));
}

}  // namespace
}  // namespace cbit::dev
