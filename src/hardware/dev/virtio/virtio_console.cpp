#include "dev/virtio/virtio_console.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

constexpr std::uint64_t console_bytes_at_once = 4096;  // of a buffer that the guest sends, or has filled
constexpr std::size_t name_bytes_max = 255;
// A driver that never takes its messages is told no more: it asked for each of them.
constexpr std::size_t unsent_max = 4 * VirtioConsole::ports_max;

std::uint64_t features_of(const VirtioConsoleOptions& options) {
  std::uint64_t features = virtio_console_feature::emerg_write;
  if (options.columns != 0) features |= virtio_console_feature::size;
  if (!options.ports.empty()) features |= virtio_console_feature::multiport;
  return features;
}

std::vector<std::uint16_t> queue_sizes_of(const VirtioConsoleOptions& options) {
  const std::size_t count = options.ports.empty() ? 2 : 2 * (options.ports.size() + 1);
  return std::vector<std::uint16_t>(count, options.queue_size);
}

}  // namespace

OrError<std::unique_ptr<VirtioConsole>> VirtioConsole::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                              const VirtioConsoleOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  if (options.ports.size() > ports_max)
    return usage_error(fmt::format("a console with {} ports", options.ports.size()),
                       fmt::format("{} are possible", ports_max));
  for (const VirtioConsolePort& one : options.ports)
    if (one.name.size() > name_bytes_max)
      return usage_error(fmt::format("the name of a console's port has {} bytes", one.name.size()),
                         fmt::format("use at most {}", name_bytes_max));
  return std::unique_ptr<VirtioConsole>{new VirtioConsole{bus, std::move(port), options}};
}

VirtioConsole::VirtioConsole(bus::SystemBus& bus, bus::DmaPortConfig port,
                             const VirtioConsoleOptions& options)
    : VirtioDevice{bus, std::move(port), options.virtio, features_of(options), queue_sizes_of(options)},
      config_{.cols = options.columns,
              .rows = options.rows,
              .max_nr_ports = static_cast<std::uint32_t>(std::max<std::size_t>(options.ports.size(), 1))} {
  for (const VirtioConsolePort& one : options.ports) ports_.push_back({one});
  if (ports_.empty()) ports_.push_back({{.console = true}});
}

std::size_t VirtioConsole::port_of(std::uint16_t queue) const {
  if (queue < 2) return 0;
  return queue < 4 ? ports_.size() : queue / 2u - 1;
}

void VirtioConsole::on_reset() {
  unsent_.clear();
  for (Port& port : ports_)
    if (std::exchange(port.open, false) && port.peer != nullptr) port.peer->opened(false);
}

OrTrouble<void> VirtioConsole::kicked(std::uint16_t queue) {
  if (queue >= 2 && !multiport()) return {};
  if (queue == virtio_console_control_receive) return flush_control();
  if (queue == virtio_console_control_transmit) {
    CBIT_TRY(serve(queue, [this](const VirtChain& chain) { return control(chain); }));
    return flush_control();
  }
  const std::size_t port = port_of(queue);
  if (queue % 2 == 0) return fill(port);
  return serve(queue, [this, port](const VirtChain& chain) { return transmit(ports_[port], chain); });
}

OrTrouble<std::uint32_t> VirtioConsole::transmit(Port& port, const VirtChain& chain) {
  if (!chain.writable.empty()) return trouble("a device-writable buffer in a console's transmit queue");
  const std::uint64_t bytes = chain.readable_bytes();
  for (std::uint64_t done = 0; done < bytes;) {
    Bytes text(std::min(bytes - done, console_bytes_at_once));
    CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, done, text.size()), text));
    if (port.peer != nullptr) port.peer->output(text);
    done += text.size();
  }
  return 0;
}

void VirtioConsole::input_available(std::size_t port) {
  const std::uint16_t queue = virtio_console_receive_queue(static_cast<unsigned>(port));
  if (!serving(queue) || (port != 0 && !multiport())) return;
  if (const auto filled = fill(port); !filled) stop(queue, filled.error());
}

OrTrouble<void> VirtioConsole::fill(std::size_t number) {
  Port& port = ports_[number];
  if (port.peer == nullptr || (multiport() && !port.open)) return {};
  const std::uint16_t index = virtio_console_receive_queue(static_cast<unsigned>(number));
  VirtQueue& ring = queue(index);
  for (std::uint32_t left = ring.config().size; left != 0 && CBIT_TRY(ring.available()) != 0; --left) {
    if (port.waiting.empty()) {
      port.waiting.resize(console_bytes_at_once);
      port.waiting.resize(std::min(port.peer->input(port.waiting), port.waiting.size()));
    }
    if (port.waiting.empty()) break;
    const std::size_t sent = CBIT_TRY(deliver(ring, port.waiting));
    port.waiting.erase(port.waiting.begin(), port.waiting.begin() + static_cast<std::ptrdiff_t>(sent));
  }
  return finish(index);
}

// ---- control messages, 5.3.6.2 ----

OrTrouble<std::uint32_t> VirtioConsole::control(const VirtChain& chain) {
  VirtioConsoleControl message;
  if (!chain.writable.empty() || chain.readable_bytes() < sizeof message)
    return trouble("a console's control message that is none");
  CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, 0, sizeof message),
                         std::as_writable_bytes(std::span{&message, 1})));
  answer(message);
  return 0;
}

void VirtioConsole::answer(const VirtioConsoleControl& message) {
  const auto count = static_cast<std::uint32_t>(ports_.size());
  if (message.event == virtio_console_event::device_ready) {
    if (message.value != 1) return;
    for (std::uint32_t id = 0; id < count; ++id) say({id, virtio_console_event::device_add, 1});
    return;
  }
  if (message.id >= count) return;
  Port& port = ports_[message.id];
  if (message.event == virtio_console_event::port_ready && message.value == 1) {
    if (port.options.console) say({message.id, virtio_console_event::console_port, 1});
    if (!port.options.name.empty()) say({message.id, virtio_console_event::port_name, 1}, port.options.name);
    say({message.id, virtio_console_event::port_open, 1});
  }
  if (message.event != virtio_console_event::port_open) return;
  const bool open = message.value != 0;
  if (std::exchange(port.open, open) == open || port.peer == nullptr) return;
  port.peer->opened(open);
  input_available(message.id);
}

void VirtioConsole::say(const VirtioConsoleControl& message, std::string_view name) {
  if (unsent_.size() == unsent_max) return;
  const ConstByteSpan head = bytes_of(message);
  Bytes& text = unsent_.emplace_back(head.begin(), head.end());
  const auto tail = std::as_bytes(std::span{name});
  text.insert(text.end(), tail.begin(), tail.end());
}

OrTrouble<void> VirtioConsole::flush_control() {
  if (!serving(virtio_console_control_receive)) return {};
  VirtQueue& ring = queue(virtio_console_control_receive);
  while (!unsent_.empty() && CBIT_TRY(ring.available()) != 0) {
    CBIT_TRY(deliver(ring, unsent_.front()));
    unsent_.pop_front();
  }
  return finish(virtio_console_control_receive);
}

// The next buffer gets what fits into it.
OrTrouble<std::size_t> VirtioConsole::deliver(VirtQueue& ring, ConstByteSpan text) {
  const VirtChain chain = CBIT_TRY(ring.pop());
  if (!chain.readable.empty()) return trouble("a device-readable buffer in a console's receive queue");
  const auto fits = static_cast<std::size_t>(std::min<std::uint64_t>(text.size(), chain.writable_bytes()));
  CBIT_TRY(write_segments(dma(), chain.writable, text.first(fits)));
  CBIT_TRY(ring.push(chain, static_cast<std::uint32_t>(fits)));
  return fits;
}

void VirtioConsole::write_config(std::uint32_t offset, ConstByteSpan from) {
  if (offset != offsetof(VirtioConsoleConfig, emerg_wr) || from.empty() || ports_[0].peer == nullptr) return;
  ports_[0].peer->output(from.first(1));
}

void VirtioConsole::transfer_type(StateStream& s) {
  constexpr std::size_t bytes_max = 64 << 20;
  constexpr std::size_t messages_max = 1 << 16;
  const auto bytes = [&s](Bytes& of) {
    const std::size_t size = s.count(of.size(), bytes_max);
    if (s.loads()) of.resize(size);
    s.raw(of);
  };
  for (Port& port : ports_) {
    s(port.open);
    bytes(port.waiting);
  }
  const std::size_t messages = s.count(unsent_.size(), messages_max);
  if (s.loads()) unsent_.resize(messages);
  for (Bytes& message : unsent_) bytes(message);
}

}  // namespace cbit::dev
