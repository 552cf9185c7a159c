// The virtio network driver: drivers/net/virtio_net.c, with small receive buffers (add_recvbuf_small): a
// header and a frame each, in memory of the driver that stays mapped while the device may write.
//
//   -ENODEV     probe: see VirtioBinding::negotiate()
//   -EINVAL     a frame that is no Ethernet frame: 14 to 1514 bytes
//   -ENOSPC     the transmit queue is full; Linux stops the queue and tries again
//   -EIO        a broken queue
//   -ETIMEDOUT  the device does not return what was sent Threading: one thread.
#pragma once

#include <memory>
#include <optional>

#include "dev/virtio/virtio_net.hpp"
#include "kernel/virtio/vring.hpp"

namespace cbit::kernel {

class VirtioNetDriver {
 public:
  // Everything outlives the driver. `parent` is the device's PCI function.
  static Result<std::unique_ptr<VirtioNetDriver>, Errno> probe(Kernel& kernel, dev::VirtioDevice& hardware,
                                                               Device& parent,
                                                               const VirtioDriverOptions& options = {});
  // virtnet_remove: resets the device, takes back the receive buffers.
  ~VirtioNetDriver();
  VirtioNetDriver(const VirtioNetDriver&) = delete;
  VirtioNetDriver& operator=(const VirtioNetDriver&) = delete;

  // start_xmit: a frame in the kernel's direct map. Returns when the device has taken it.
  Result<void, Errno> send(paging::Mmu& cpu, VirtAddr frame, std::uint32_t bytes);
  // virtnet_poll: the next received frame; its buffer is given to the device again. nullopt: none.
  std::optional<Bytes> receive(paging::Mmu& cpu);

  [[nodiscard]] const VirtioBinding& binding() const { return binding_; }
  [[nodiscard]] const Vring& receive_queue() const { return *rx_; }

 private:
  VirtioNetDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                  const VirtioDriverOptions& options)
      : binding_{kernel, hardware, parent, options} {}
  Result<void, Errno> start(paging::Mmu& cpu);
  // try_fill_recv
  Result<void, Errno> add_receive_buffer(paging::Mmu& cpu, std::uint32_t slot);
  [[nodiscard]] std::uint32_t header_bytes() const;

  VirtioBinding binding_;
  std::unique_ptr<Vring> rx_, tx_;
  VirtAddr buffers_;  // the transmit header's place, then the receive buffers
  std::uint64_t buffer_pages_ = 0;
  bool live_ = false;
};

}  // namespace cbit::kernel
