// The virtio entropy driver: drivers/char/hw_random/virtio-rng.c. One buffer of a cache line, refilled when
// it is used up.
//
// -ENODEV: see VirtioBinding::negotiate(). -EIO: a broken queue, or an answer of no bytes; -ETIMEDOUT:
// none. Threading: one thread.
#pragma once

#include <memory>

#include "dev/virtio/virtio_rng.hpp"
#include "kernel/virtio/vring.hpp"

namespace cbit::kernel {

class VirtioRngDriver {
 public:
  // Everything outlives the driver. `parent` is the device's PCI function.
  static Result<std::unique_ptr<VirtioRngDriver>, Errno> probe(Kernel& kernel, dev::VirtioDevice& hardware,
                                                               Device& parent,
                                                               const VirtioDriverOptions& options = {});
  ~VirtioRngDriver();
  VirtioRngDriver(const VirtioRngDriver&) = delete;
  VirtioRngDriver& operator=(const VirtioRngDriver&) = delete;

  // Reads from /dev/hwrng.
  Result<Bytes, Errno> read(paging::Mmu& cpu, std::size_t bytes);
  [[nodiscard]] const VirtioBinding& binding() const { return binding_; }

 private:
  VirtioRngDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                  const VirtioDriverOptions& options)
      : binding_{kernel, hardware, parent, options} {}
  Result<void, Errno> start(paging::Mmu& cpu);
  // How many bytes came.
  Result<std::uint32_t, Errno> request_entropy(paging::Mmu& cpu);

  VirtioBinding binding_;
  std::unique_ptr<Vring> queue_;
  VirtAddr data_;
  bool live_ = false;
};

}  // namespace cbit::kernel
