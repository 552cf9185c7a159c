#include "dev/virtio/virtio_net.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint16_t receive_queue = 0;
constexpr std::uint64_t short_header_bytes = 10;  // without num_buffers

}  // namespace

OrError<std::unique_ptr<VirtioNet>> VirtioNet::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                      const VirtioNetOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  return std::unique_ptr<VirtioNet>{new VirtioNet{bus, std::move(port), options}};
}

VirtioNet::VirtioNet(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioNetOptions& options)
    : VirtioDevice{bus,
                   std::move(port),
                   options.virtio,
                   virtio_net_feature::mac | virtio_net_feature::status | virtio_net_feature::mtu |
                       virtio_net_feature::mrg_rxbuf,
                   {options.queue_size, options.queue_size}},
      network_{options.net.network},
      peer_{options.net.network} {
  config_.mac = options.net.mac.value_or(default_mac);
  if (network_ != nullptr) network_->connect(this);
}

VirtioNet::~VirtioNet() {
  if (network_ != nullptr) network_->connect(nullptr);
}

bool VirtioNet::is_up() const { return serving(receive_queue); }

// 5.1.6.1: num_buffers is there with VERSION_1 or MRG_RXBUF.
std::uint64_t VirtioNet::header_bytes() const {
  const bool is_long = has(spec::virtio_feature::version_1) || has(virtio_net_feature::mrg_rxbuf);
  return is_long ? sizeof(VirtioNetHdr) : short_header_bytes;
}

OrTrouble<void> VirtioNet::kicked(std::uint16_t queue) {
  if (queue != receive_queue) return serve(queue, [this](const VirtChain& chain) { return transmit(chain); });
  if (peer_ != nullptr) peer_->has_room();
  return {};
}

OrTrouble<std::uint32_t> VirtioNet::transmit(const VirtChain& chain) {
  if (!chain.writable.empty()) return trouble("a device-writable buffer in the transmit queue");
  const std::uint64_t bytes = chain.readable_bytes();
  if (bytes < header_bytes()) return trouble(fmt::format("packet header of {} bytes", bytes));
  if (bytes - header_bytes() > tagged_frame_max) {
    ++dropped_;
    return 0u;
  }
  Bytes frame(bytes - header_bytes());
  CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, header_bytes(), frame.size()), frame));
  if (peer_ == nullptr || !peer_->receive(frame)) ++dropped_;
  return 0u;
}

bool VirtioNet::receive(ConstByteSpan frame) {
  if (!is_up()) return false;
  const auto delivered = deliver(frame);
  if (delivered) return *delivered;
  stop(receive_queue, delivered.error());
  return false;
}

OrTrouble<bool> VirtioNet::deliver(ConstByteSpan frame) {
  VirtioNetHdr header{};
  Bytes packet(header_bytes() + frame.size());
  const std::uint64_t room = CBIT_TRY(take_buffers(packet.size()));
  if (room < packet.size() && taken_.size() < buffers_max()) return false;
  if (room < packet.size()) {
    ++dropped_;
    packet.clear();
  } else {
    header.num_buffers = static_cast<std::uint16_t>(taken_.size());
    std::ranges::copy(bytes_of(header).first(header_bytes()), packet.begin());
    std::ranges::copy(frame, packet.begin() + static_cast<std::ptrdiff_t>(header_bytes()));
  }
  CBIT_TRY(return_buffers(packet));
  return true;
}

std::size_t VirtioNet::buffers_max() {
  return has(virtio_net_feature::mrg_rxbuf) ? queue(receive_queue).config().size : 1;
}

OrTrouble<std::uint64_t> VirtioNet::take_buffers(std::uint64_t bytes) {
  VirtQueue& buffers = queue(receive_queue);
  std::uint64_t room = 0;
  for (const VirtChain& chain : taken_) room += chain.writable_bytes();
  while (room < bytes && taken_.size() < buffers_max() && CBIT_TRY(buffers.available()) != 0) {
    taken_.push_back(CBIT_TRY(buffers.pop()));
    if (!taken_.back().readable.empty()) return trouble("a device-readable buffer in the receive queue");
    room += taken_.back().writable_bytes();
  }
  return room;
}

OrTrouble<void> VirtioNet::return_buffers(ConstByteSpan packet) {
  for (const VirtChain& chain : taken_) {
    const auto part = packet.first(std::min<std::uint64_t>(packet.size(), chain.writable_bytes()));
    CBIT_TRY(write_segments(dma(), chain.writable, part));
    CBIT_TRY(queue(receive_queue).push(chain, static_cast<std::uint32_t>(part.size())));
    packet = packet.subspan(part.size());
  }
  taken_.clear();
  return finish(receive_queue);
}

}  // namespace cbit::dev
