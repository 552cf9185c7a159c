// A virtio network device with one pair of queues, and the wire to another one. VIRTIO 1.2, 5.1.
//
// Queue 0 receives, queue 1 transmits. A frame travels when the transmit queue is notified: to the peer, or
// back to the device itself where it is looped. The peer writes it into its next receive buffer, behind a
// header; one that finds no buffer, or one that is too small, is dropped. A transmitted frame is at most as
// long as Ethernet's.
//
// A request shorter than its header, or a writable buffer in the transmit queue, stops the device.
// Threading: one thread for both ends of a wire.
#pragma once

#include <array>
#include <memory>

#include "dev/virtio/virtio_device.hpp"

namespace cbit::dev {

inline constexpr std::uint16_t virtio_id_net = 1;

namespace virtio_net_feature {
inline constexpr std::uint64_t mac = 1u << 5;
inline constexpr std::uint64_t status = 1u << 16;
}  // namespace virtio_net_feature

// struct virtio_net_hdr_v1; a legacy driver's ends before num_buffers.
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

inline constexpr std::uint32_t ethernet_frame_max = 1514;  // ETH_FRAME_LEN
inline constexpr std::uint32_t ethernet_header_bytes = 14;

struct VirtioNetConfig {
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t status = 1;  // VIRTIO_NET_S_LINK_UP
};
static_assert(sizeof(VirtioNetConfig) == 8);

struct VirtioNetOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 64;  // of both; a power of two
  std::array<std::uint8_t, 6> mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
};

class VirtioNet final : public VirtioDevice {
 public:
  // Errors (usage): options that contradict each other, a queue size that is no power of two.
  static OrError<std::unique_ptr<VirtioNet>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                    const VirtioNetOptions& options);
  [[nodiscard]] std::uint16_t device_id() const override { return virtio_id_net; }

  // Where frames go: another device, itself, or nowhere (nullptr). The peer outlives the wire.
  void connect(VirtioNet* peer) { peer_ = peer; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }

 private:
  VirtioNet(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioNetOptions& options);
  [[nodiscard]] std::uint64_t header_bytes() const;
  OrTrouble<std::uint32_t> transmit(const VirtChain& chain);
  void receive(ConstByteSpan frame);
  OrTrouble<bool> deliver(ConstByteSpan frame);

  VirtioNetConfig config_;
  VirtioNet* peer_ = nullptr;
  std::uint64_t dropped_ = 0;
};

}  // namespace cbit::dev
