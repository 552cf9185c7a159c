#include "dev/virtio/virtio_vsock.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

constexpr std::size_t header_bytes = sizeof(VirtioVsockHdr);

}  // namespace

OrError<std::unique_ptr<VirtioVsock>> VirtioVsock::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                          const VirtioVsockOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  if (options.guest_cid < vsock_cid::guest_first || options.guest_cid > vsock_cid::guest_last)
    return usage_error(fmt::format("CID {} is not a guest's", options.guest_cid),
                       fmt::format("use {} to {}", vsock_cid::guest_first, vsock_cid::guest_last));
  return std::unique_ptr<VirtioVsock>{new VirtioVsock{bus, std::move(port), options}};
}

VirtioVsock::VirtioVsock(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioVsockOptions& options)
    : VirtioDevice{bus, std::move(port), options.virtio, virtio_vsock_feature::stream,
                   std::vector<std::uint16_t>(virtio_vsock_queues, options.queue_size)},
      config_{.guest_cid = options.guest_cid},
      sockets_{options.sockets},
      table_{options.guest_cid, options.sockets} {
  if (sockets_ != nullptr) sockets_->attach(this);
}

VirtioVsock::~VirtioVsock() {
  if (sockets_ != nullptr) sockets_->attach(nullptr);
}

bool VirtioVsock::is_up() const { return serving(virtio_vsock_receive) && serving(virtio_vsock_transmit); }

void VirtioVsock::on_reset() {
  table_.reset();
  may_have_packets_ = false;
}

void VirtioVsock::host_has_spoken() {
  table_.hear_host();
  if (is_up()) work();
}

OrTrouble<void> VirtioVsock::kicked(std::uint16_t queue) {
  if (queue == virtio_vsock_transmit) may_have_packets_ = true;
  if (queue != virtio_vsock_event) work();
  return {};
}

void VirtioVsock::work() {
  std::uint32_t packets = queue(virtio_vsock_transmit).config().size;
  std::uint32_t buffers = queue(virtio_vsock_receive).config().size;
  std::uint32_t before = 0;
  do {
    before = packets + buffers;
    if (const auto done = transmit(packets); !done) return stop(virtio_vsock_transmit, done.error());
    if (const auto done = fill(buffers); !done) return stop(virtio_vsock_receive, done.error());
  } while (packets + buffers != before);
}

OrTrouble<void> VirtioVsock::transmit(std::uint32_t& packets) {
  if (!may_have_packets_ || !table_.has_room() || !serving(virtio_vsock_transmit)) return {};
  VirtQueue& ring = queue(virtio_vsock_transmit);
  for (; packets != 0 && table_.has_room(); --packets) {
    may_have_packets_ = CBIT_TRY(ring.available()) != 0;
    if (!may_have_packets_) break;
    const VirtChain chain = CBIT_TRY(ring.pop());
    CBIT_TRY(take(chain));
    CBIT_TRY(ring.push(chain, 0));
  }
  return finish(virtio_vsock_transmit);
}

OrTrouble<void> VirtioVsock::take(const VirtChain& chain) {
  if (!chain.writable.empty()) return trouble("a device-writable buffer in a vsock's transmit queue");
  const std::uint64_t bytes = chain.readable_bytes();
  if (bytes < header_bytes) return trouble(fmt::format("packet header of {} bytes", bytes));
  VirtioVsockHdr header;
  CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, 0, header_bytes),
                         std::as_writable_bytes(std::span{&header, 1})));
  const std::uint32_t length = header.len;
  if (length > bytes - header_bytes)
    return trouble(
        fmt::format("a packet with {} bytes of payload says it has {}", bytes - header_bytes, length));
  const bool is_read = header.op == virtio_vsock_op::rw && length <= VsockTable::buffer_bytes;
  Bytes payload(is_read ? length : 0);
  CBIT_TRY(read_segments(dma(), sub_segments(chain.readable, header_bytes, payload.size()), payload));
  table_.receive(header, payload);
  return {};
}

OrTrouble<void> VirtioVsock::fill(std::uint32_t& buffers) {
  if (!table_.has_packets() || !serving(virtio_vsock_receive)) return {};
  VirtQueue& ring = queue(virtio_vsock_receive);
  for (; buffers != 0 && table_.has_packets() && CBIT_TRY(ring.available()) != 0; --buffers) {
    const VirtChain chain = CBIT_TRY(ring.pop());
    CBIT_TRY(ring.push(chain, CBIT_TRY(give(chain))));
  }
  return finish(virtio_vsock_receive);
}

OrTrouble<std::uint32_t> VirtioVsock::give(const VirtChain& chain) {
  if (!chain.readable.empty()) return trouble("a device-readable buffer in a vsock's receive queue");
  const std::uint64_t bytes = chain.writable_bytes();
  if (bytes <= header_bytes) return trouble(fmt::format("a receive buffer of {} bytes", bytes));
  const auto room = std::min<std::uint64_t>(bytes - header_bytes, VsockTable::buffer_bytes);
  const VsockTable::Packet packet = table_.next(static_cast<std::uint32_t>(room));
  const ConstByteSpan header = bytes_of(packet.header);
  Bytes whole{header.begin(), header.end()};
  whole.insert(whole.end(), packet.payload.begin(), packet.payload.end());
  CBIT_TRY(write_segments(dma(), chain.writable, whole));
  return static_cast<std::uint32_t>(whole.size());
}

}  // namespace cbit::dev
