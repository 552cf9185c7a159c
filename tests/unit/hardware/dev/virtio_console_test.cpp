#include "dev/virtio/virtio_console.hpp"

#include <gtest/gtest.h>

#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using namespace spec::virtio_status;
namespace event = spec::virtio_console_event;

constexpr std::uint16_t queue_size = 8;
constexpr std::uint64_t buffers_at = 0x80000;

struct Terminal final : ConsolePeer {
  void output(ConstByteSpan text) override {
    for (const std::byte b : text) written += static_cast<char>(b);
  }
  std::size_t input(ByteSpan to) override {
    const std::size_t bytes = std::min(to.size(), typed.size());
    std::memcpy(to.data(), typed.data(), bytes);
    typed.erase(0, bytes);
    return bytes;
  }
  void opened(bool open) override { opens += open ? "open " : "close "; }

  std::string written, typed, opens;
};

class VirtioConsoleTest : public ::testing::TestWithParam<Transport> {
 protected:
  void start(const VirtioConsoleOptions& options, std::uint64_t refuse = 0) {
    auto created = VirtioConsole::create(board.bus, {.device = "hvc", .requester = 8}, options);
    ASSERT_TRUE(created) << created.error().message;
    console = created->get();
    device = connect(board, GetParam(), std::move(*created));
    device->set_status(acknowledge | driver);
    device->set_driver_features(device->device_features() & ~refuse);
    device->set_status(acknowledge | driver | features_ok);
    rings.clear();
    for (std::uint16_t n = 0; n < device->hardware().queue_count(); ++n) {
      rings.emplace_back(board, queue_size, 0x10000 + 0x4000 * n);
      device->enable_queue(n, rings[n].config());
    }
    device->set_status(acknowledge | driver | features_ok | driver_ok);
    used.assign(rings.size(), 0);
    offered.assign(rings.size(), 0);
  }
  static VirtioConsoleOptions single() { return {.queue_size = queue_size}; }
  static VirtioConsoleOptions two_ports() {
    return {.queue_size = queue_size, .ports = {{.name = "org.cbit.0"}, {.name = "com", .console = true}}};
  }

  [[nodiscard]] std::uint64_t buffer(std::uint16_t queue, unsigned n) const {
    return buffers_at + 0x10000u * queue + 0x1000u * n;
  }
  void add_buffer(std::uint16_t queue, std::uint32_t bytes = 64) {
    const auto slot = static_cast<std::uint16_t>(offered[queue]++ % queue_size);
    rings[queue].desc(slot, {buffer(queue, slot), bytes, spec::vring_flag::write, 0});
    rings[queue].offer(slot);
    rings[queue].publish();
    device->notify(queue);
  }
  void send(std::uint16_t queue, ConstByteSpan bytes) {
    const auto slot = static_cast<std::uint16_t>(offered[queue]++ % queue_size);
    board.put_bytes(buffer(queue, slot), bytes);
    rings[queue].desc(slot, {buffer(queue, slot), static_cast<std::uint32_t>(bytes.size()), 0, 0});
    rings[queue].offer(slot);
    rings[queue].publish();
    device->notify(queue);
  }
  void send(std::uint16_t queue, std::string_view text) { send(queue, std::as_bytes(std::span{text})); }
  void control(std::uint32_t port, std::uint16_t what, std::uint16_t value) {
    send(3, bytes_of(spec::VirtioConsoleControl{port, what, value}));
  }
  // What came into the queue's next buffer; nothing came: "-".
  std::string received(std::uint16_t queue) {
    if (rings[queue].used_index() == used[queue]) return "-";
    const auto entry = rings[queue].used_entry(used[queue]++);
    const Bytes bytes = board.get_bytes(buffer(queue, entry.id), entry.len);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string message(std::uint32_t port, std::uint16_t what, std::uint16_t value,
                      std::string_view name = {}) {
    const spec::VirtioConsoleControl head{port, what, value};
    return std::string(reinterpret_cast<const char*>(&head), sizeof head) + std::string{name};
  }

  VirtioBoard board;
  VirtioConsole* console = nullptr;
  std::unique_ptr<DriverEnd> device;
  std::vector<RawRing> rings;
  std::vector<std::uint16_t> used, offered;
  Terminal terminal, other;
};

INSTANTIATE_TEST_SUITE_P(Over, VirtioConsoleTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

TEST_P(VirtioConsoleTest, ASingleConsoleHasTwoQueuesAndNoMultiport) {
  start(single());
  EXPECT_EQ(device->hardware().queue_count(), 2);
  EXPECT_EQ(device->device_features() & 7u, spec::virtio_console_feature::emerg_write);
}

TEST_P(VirtioConsoleTest, PassesOutputOn) {
  start(single(), spec::virtio_feature::event_idx);
  send(1, "lost");
  console->set_peer(0, &terminal);
  send(1, "hello ");
  send(1, "world");
  EXPECT_EQ(terminal.written, "hello world");
  EXPECT_EQ(rings[1].used_index(), 3);
  EXPECT_EQ(device->interrupts().size(), 3u);
}

TEST_P(VirtioConsoleTest, PutsInputIntoBuffersAsTheyCome) {
  start(single());
  console->set_peer(0, &terminal);
  terminal.typed = "ls -l";
  console->input_available(0);
  EXPECT_EQ(terminal.typed, "ls -l") << "without a buffer it stays where it is";
  add_buffer(0, 3);
  EXPECT_EQ(received(0), "ls ");
  add_buffer(0);
  EXPECT_EQ(received(0), "-l") << "nothing is lost between buffers";
  add_buffer(0);
  EXPECT_EQ(received(0), "-");
  terminal.typed = "x";
  console->input_available(0);
  EXPECT_EQ(received(0), "x");
}

TEST_P(VirtioConsoleTest, TakesNoInputBeforeTheDriverIsReady) {
  start(single());
  console->set_peer(0, &terminal);
  device->set_status(0);
  terminal.typed = "x";
  console->input_available(0);
  EXPECT_EQ(terminal.typed, "x");
}

// VIRTIO 1.2, 5.3.6.2, and what drivers/char/virtio_console.c does.
TEST_P(VirtioConsoleTest, IntroducesItsPortsByControlMessages) {
  start(two_ports());
  EXPECT_EQ(device->hardware().queue_count(), 6);
  control(spec::virtio_console_control_receive, event::device_ready, 1);
  EXPECT_EQ(rings[2].used_index(), 0) << "messages wait for buffers";
  for (int n = 0; n < 8; ++n) add_buffer(2);
  EXPECT_EQ(received(2), message(0, event::device_add, 1));
  EXPECT_EQ(received(2), message(1, event::device_add, 1));
  control(0, event::port_ready, 1);
  EXPECT_EQ(received(2), message(0, event::port_name, 1, "org.cbit.0"));
  EXPECT_EQ(received(2), message(0, event::port_open, 1));
  control(1, event::port_ready, 1);
  EXPECT_EQ(received(2), message(1, event::console_port, 1));
  EXPECT_EQ(received(2), message(1, event::port_name, 1, "com"));
  EXPECT_EQ(received(2), message(1, event::port_open, 1));
  EXPECT_EQ(received(2), "-");
  spec::VirtioConsoleConfig config;
  device->read_config(0, std::as_writable_bytes(std::span{&config, 1}));
  EXPECT_EQ(config.max_nr_ports, 2u);
}

TEST_P(VirtioConsoleTest, APortTakesInputWhileTheGuestHasItOpen) {
  start(two_ports());
  console->set_peer(0, &terminal);
  console->set_peer(1, &other);
  add_buffer(4);
  other.typed = "ping";
  console->input_available(1);
  EXPECT_EQ(received(4), "-");
  control(1, event::port_open, 1);
  EXPECT_EQ(received(4), "ping");
  send(5, "pong");
  EXPECT_EQ(other.written, "pong");
  EXPECT_EQ(terminal.written, "");
  control(1, event::port_open, 1);
  control(1, event::port_open, 0);
  EXPECT_EQ(other.opens, "open close ");
  control(1, event::port_open, 1);
  device->set_status(0);
  EXPECT_EQ(other.opens, "open close open close ") << "a reset closes";
}

TEST_P(VirtioConsoleTest, ADriverWithoutMultiportHasPortZeroOnly) {
  start(two_ports(), spec::virtio_console_feature::multiport);
  console->set_peer(0, &terminal);
  console->set_peer(1, &other);
  send(1, "a");
  send(5, "b");
  control(0, event::device_ready, 1);
  EXPECT_EQ(terminal.written, "a");
  EXPECT_EQ(other.written, "");
  EXPECT_EQ(rings[3].used_index(), 0);
  terminal.typed = "in";
  add_buffer(0);
  EXPECT_EQ(received(0), "in") << "a single port is always open";
}

TEST_P(VirtioConsoleTest, IgnoresMessagesAboutPortsThatAreNotThere) {
  start(two_ports());
  add_buffer(2);
  control(2, event::port_ready, 1);
  control(0xffff'ffff, event::port_open, 1);
  control(0, 77, 1);
  EXPECT_EQ(received(2), "-");
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioConsoleTest, RemembersOnlySoMuchForADriverThatDoesNotListen) {
  start(two_ports());
  for (int n = 0; n < 1000; ++n) control(0, event::port_ready, 1);
  int messages = 0;
  for (add_buffer(2); received(2) != "-"; add_buffer(2)) ++messages;
  EXPECT_LE(messages, 200);
  EXPECT_GE(messages, 4);
}

TEST_P(VirtioConsoleTest, StopsOnBuffersOfTheWrongDirection) {
  start(single());
  console->set_peer(0, &terminal);
  add_buffer(1);
  EXPECT_TRUE(device->broken());

  device.reset();
  start(single());
  console->set_peer(0, &terminal);
  terminal.typed = "x";
  send(0, "y");
  EXPECT_TRUE(device->broken());

  device.reset();
  start(two_ports());
  send(3, "short");
  EXPECT_TRUE(device->broken());
}

TEST_P(VirtioConsoleTest, AnEmergencyWriteNeedsNoQueue) {
  start(single());
  console->set_peer(0, &terminal);
  device->set_status(0);
  device->write_config(8, bytes_of(std::uint32_t{'!'}));
  device->write_config(0, bytes_of(std::uint32_t{'?'}));
  EXPECT_EQ(terminal.written, "!");
}

TEST_P(VirtioConsoleTest, TellsTheSizeOfItsTerminal) {
  auto options = single();
  options.columns = 80;
  options.rows = 25;
  start(options);
  EXPECT_TRUE(device->has(spec::virtio_console_feature::size));
  spec::VirtioConsoleConfig config;
  device->read_config(0, std::as_writable_bytes(std::span{&config, 1}));
  EXPECT_EQ(config.cols, 80);
  EXPECT_EQ(config.rows, 25);
}

TEST_P(VirtioConsoleTest, RefusesOptionsThatNoDeviceHas) {
  const auto refuses = [&](VirtioConsoleOptions options) {
    return !VirtioConsole::create(board.bus, {.device = "hvc"}, options);
  };
  EXPECT_TRUE(refuses({.queue_size = 6}));
  EXPECT_TRUE(refuses({.ports = std::vector<VirtioConsolePort>(32)}));
  EXPECT_TRUE(refuses({.ports = {{.name = std::string(256, 'x')}}}));
  EXPECT_FALSE(refuses({.ports = std::vector<VirtioConsolePort>(31)}));
}

}  // namespace
}  // namespace cbit::dev
