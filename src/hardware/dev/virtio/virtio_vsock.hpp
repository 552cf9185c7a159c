// A virtio socket device: AF_VSOCK in the guest, a VsockBackend at the host. VIRTIO 1.2, 5.10. Streams alone;
// QEMU's counterpart is vhost-vsock-pci (hw/virtio/vhost-vsock-common.c).
//
// What is in packets is dev/virtio/vsock_table.hpp's. A packet without a whole header, one that says it is
// longer than its buffers, a writable buffer in the transmit queue, a readable one in the receive queue and
// one that has no room for a header and a byte stop the device. While the guest fetches no answers, its
// packets stay in the transmit queue. The event queue is never used: nothing interrupts the connections.
// Threading: one thread, that of the machine.
#pragma once

#include <memory>

#include "dev/virtio/virtio_device.hpp"
#include "dev/virtio/vsock_table.hpp"

namespace cbit::dev {

inline constexpr std::uint64_t default_guest_cid = spec::vsock_cid::guest_first;

struct VirtioVsockOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 128;  // of all queues; a power of two. QEMU's VHOST_VSOCK_QUEUE_SIZE
  std::uint64_t guest_cid = default_guest_cid;
  VsockBackend* sockets = nullptr;  // outlives the device; nullptr: the host neither listens nor calls
};

class VirtioVsock final : public VirtioDevice, public VsockEnd {
 public:
  // Errors (usage): options that contradict each other, a queue size that is no power of two, a CID that is
  // not a guest's.
  static OrError<std::unique_ptr<VirtioVsock>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                      const VirtioVsockOptions& options);
  ~VirtioVsock() override;
  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_vsock; }
  [[nodiscard]] const VsockTable& table() const { return table_; }

  void host_has_spoken() override;
  [[nodiscard]] bool is_up() const override;

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override;

 private:
  VirtioVsock(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioVsockOptions& options);
  // Both queues, at most one round of each.
  void work();
  // So many packets, or buffers, at most; they count what is left.
  OrTrouble<void> transmit(std::uint32_t& packets);
  OrTrouble<void> fill(std::uint32_t& buffers);
  OrTrouble<void> take(const VirtChain& chain);
  OrTrouble<std::uint32_t> give(const VirtChain& chain);

  spec::VirtioVsockConfig config_;
  VsockBackend* sockets_;
  VsockTable table_;
  bool may_have_packets_ = false;  // in the transmit queue
};

}  // namespace cbit::dev
