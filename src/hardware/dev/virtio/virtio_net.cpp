#include "dev/virtio/virtio_net.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint16_t receive_queue = 0;
constexpr std::uint64_t legacy_header_bytes = 10;

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
                   virtio_net_feature::mac | virtio_net_feature::status,
                   {options.queue_size, options.queue_size}} {
  config_.mac = options.mac;
}

// 5.1.6.1: num_buffers is there with VERSION_1.
std::uint64_t VirtioNet::header_bytes() const {
  return has(spec::virtio_feature::version_1) ? sizeof(VirtioNetHdr) : legacy_header_bytes;
}

OrTrouble<void> VirtioNet::kicked(std::uint16_t queue) {
  if (queue == receive_queue) return {};
  return serve(queue, [this](const VirtChain& chain) { return transmit(chain); });
}

OrTrouble<std::uint32_t> VirtioNet::transmit(const VirtChain& chain) {
  if (!chain.writable.empty()) return trouble("a device-writable buffer in the transmit queue");
  const std::uint64_t bytes = chain.readable_bytes();
  if (bytes < header_bytes()) return trouble(fmt::format("packet header of {} bytes", bytes));
  if (bytes - header_bytes() > ethernet_frame_max) {
    ++dropped_;
    return 0u;
  }
  Bytes frame(bytes - header_bytes());
  CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, header_bytes(), frame.size()), frame));
  if (peer_ == nullptr)
    ++dropped_;
  else
    peer_->receive(frame);
  return 0u;
}

void VirtioNet::receive(ConstByteSpan frame) {
  if (!serving(receive_queue)) return void(++dropped_);
  const auto delivered = deliver(frame);
  if (!delivered) return stop(receive_queue, delivered.error());
  if (!*delivered) ++dropped_;
}

OrTrouble<bool> VirtioNet::deliver(ConstByteSpan frame) {
  VirtQueue& buffers = queue(receive_queue);
  if (CBIT_TRY(buffers.available()) == 0) return false;
  const VirtChain chain = CBIT_TRY(buffers.pop());
  if (!chain.readable.empty()) return trouble("a device-readable buffer in the receive queue");
  const bool fits = chain.writable_bytes() >= header_bytes() + frame.size();
  std::uint32_t written = 0;
  if (fits) {
    const VirtioNetHdr header{.num_buffers = 1};
    CBIT_TRY(write_segments(dma(), chain.writable, ConstByteSpan{bytes_of(header)}.first(header_bytes())));
    CBIT_TRY(write_segments(dma(), sub_segments(chain.writable, header_bytes(), frame.size()), frame));
    written = static_cast<std::uint32_t>(header_bytes() + frame.size());
  }
  CBIT_TRY(buffers.push(chain, written));
  CBIT_TRY(finish(receive_queue));
  return fits;
}

}  // namespace cbit::dev
