// A virtio network device with one pair of queues, and the wire to another end. VIRTIO 1.2, 5.1.
//
// Queue 0 receives, queue 1 transmits. A frame travels when the transmit queue is notified, and is written
// into the next receive buffer, behind a header; with MRG_RXBUF into several. One that finds no buffer is
// refused: the sender may keep it until the driver has added buffers. One that does not fit into a buffer is
// lost, and so is a transmitted one that is longer than Ethernet's or finds no room at the other end.
//
// Offered: MAC, STATUS, MTU, MRG_RXBUF. There are no offloads and no control queue.
//
// A request shorter than its header, or a writable buffer in the transmit queue, stops the device.
// Threading: one thread for both ends of a wire.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "dev/net_backend.hpp"
#include "dev/virtio/virtio_device.hpp"

namespace cbit::dev {

inline constexpr std::uint16_t virtio_id_net = 1;

namespace virtio_net_feature {
inline constexpr std::uint64_t mtu = 1u << 3;
inline constexpr std::uint64_t mac = 1u << 5;
inline constexpr std::uint64_t mrg_rxbuf = 1u << 15;
inline constexpr std::uint64_t status = 1u << 16;
}  // namespace virtio_net_feature

// struct virtio_net_hdr_v1; a legacy driver's ends before num_buffers, unless it takes MRG_RXBUF.
struct VirtioNetHdr {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
  std::uint16_t num_buffers = 0;
};
static_assert(sizeof(VirtioNetHdr) == 12);

struct VirtioNetConfig {
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t status = 1;  // VIRTIO_NET_S_LINK_UP
  std::uint16_t max_virtqueue_pairs = 1;
  std::uint16_t mtu = ethernet_frame_max - ethernet_header_bytes;
};
static_assert(sizeof(VirtioNetConfig) == 12);

struct VirtioNetOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 64;  // of both; a power of two
  NetOptions net;
};

class VirtioNet final : public VirtioDevice, public NetEnd {
 public:
  // Errors (usage): options that contradict each other, a queue size that is no power of two.
  static OrError<std::unique_ptr<VirtioNet>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                    const VirtioNetOptions& options);
  ~VirtioNet() override;
  [[nodiscard]] std::uint16_t device_id() const override { return virtio_id_net; }

  // Where frames go: another device, itself, or nowhere (nullptr). The peer outlives the wire.
  void connect(NetEnd* peer) { peer_ = peer; }
  // Frames that were lost here: sent to nobody or too long, or that found no room, or no buffer they fit in.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

  bool receive(ConstByteSpan frame) override;
  [[nodiscard]] bool is_up() const override;

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override { taken_.clear(); }

 private:
  VirtioNet(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioNetOptions& options);
  [[nodiscard]] std::uint64_t header_bytes() const;
  OrTrouble<std::uint32_t> transmit(const VirtChain& chain);
  OrTrouble<bool> deliver(ConstByteSpan frame);
  // How many a frame may have.
  [[nodiscard]] std::size_t buffers_max();
  // Takes buffers until they have room for so many bytes, or there are no more; how much room they have.
  OrTrouble<std::uint64_t> take_buffers(std::uint64_t bytes);
  // Those that were taken, with the packet; of nothing, unused.
  OrTrouble<void> return_buffers(ConstByteSpan packet);

  VirtioNetConfig config_;
  NetBackend* network_;
  NetEnd* peer_;
  std::vector<VirtChain> taken_;  // receive buffers that no frame has filled yet
  std::uint64_t dropped_ = 0;
};

}  // namespace cbit::dev
