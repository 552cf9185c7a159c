// The virtio block driver: drivers/block/virtio_blk.c, with what the block layer does to a request before it
// comes there (cutting it into segments and requests).
//
// A call returns when the device has finished, or never will:
//   -ENODEV      probe: see VirtioBinding::negotiate()
//   -EINVAL      buffer, length or sector not whole sectors or logical blocks; probe: senseless block size
//   -EIO         beyond the end of the disk, the device's IOERR, or a broken queue
//   -EOPNOTSUPP  the device's UNSUPP, or a request whose feature was not negotiated
//   -ENOSPC      a request needs more descriptors than the ring has; Linux would try again for ever
//   -ENOMEM      nothing could be mapped although nothing was in flight; so would Linux here
//   -ETIMEDOUT   the device does not answer; in Linux the caller waits for ever
// After -ETIMEDOUT or a broken queue the buffer stays mapped until the driver is destroyed.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel/virtio/vring.hpp"
#include "spec/virtio_blk.hpp"

namespace cbit::kernel {

class VirtioBlkDriver {
 public:
  // Everything outlives the driver. `parent` is the device's PCI function.
  static Result<std::unique_ptr<VirtioBlkDriver>, Errno> probe(Kernel& kernel, dev::VirtioDevice& hardware,
                                                               Device& parent,
                                                               const VirtioDriverOptions& options = {});
  // virtblk_remove: resets the device, unmaps what it never finished.
  ~VirtioBlkDriver();
  VirtioBlkDriver(const VirtioBlkDriver&) = delete;
  VirtioBlkDriver& operator=(const VirtioBlkDriver&) = delete;

  // `buffer` is memory of the kernel (direct map, vmap), aligned to a sector; `sector` counts 512 bytes.
  Result<void, Errno> read(paging::Mmu& cpu, std::uint64_t sector, VirtAddr buffer, std::uint64_t bytes);
  Result<void, Errno> write(paging::Mmu& cpu, std::uint64_t sector, VirtAddr buffer, std::uint64_t bytes);
  Result<void, Errno> flush(paging::Mmu& cpu);
  Result<void, Errno> discard(paging::Mmu& cpu, std::uint64_t sector, std::uint64_t sectors);
  Result<void, Errno> write_zeroes(paging::Mmu& cpu, std::uint64_t sector, std::uint64_t sectors,
                                   bool may_unmap);
  // The serial number, sysfs attribute `serial`.
  Result<std::string, Errno> id(paging::Mmu& cpu);

  // struct queue_limits, as far as it is used.
  struct Limits {
    std::uint32_t logical_block_size = 512;
    std::uint32_t max_segments = 1;
    std::uint32_t max_segment_size = 0;
    std::uint32_t max_discard_sectors = 0;       // 0: not supported
    std::uint32_t max_write_zeroes_sectors = 0;  // 0: not supported
  };
  [[nodiscard]] const Limits& limits() const { return limits_; }
  [[nodiscard]] std::uint64_t capacity() const { return capacity_; }  // in sectors
  [[nodiscard]] bool read_only() const { return binding_.has(spec::virtio_blk_feature::ro); }
  [[nodiscard]] const VirtioBinding& binding() const { return binding_; }
  [[nodiscard]] const Vring& queue() const { return *queue_; }

 private:
  enum class Payload : std::uint8_t { out, in };
  // struct virtblk_req, followed by room for a payload of the driver's own.
  struct Request {
    VirtAddr at;
    bool busy = false;
    bool abandoned = false;  // nobody waits for it any more
  };

  VirtioBlkDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                  const VirtioDriverOptions& options);
  Result<void, Errno> start(paging::Mmu& cpu);
  Result<void, Errno> read_limits();
  Result<void, Errno> allocate_requests(paging::Mmu& cpu);

  Result<void, Errno> transfer(paging::Mmu& cpu, std::uint32_t type, std::uint64_t sector, VirtAddr buffer,
                               std::uint64_t bytes);
  Result<void, Errno> zero(paging::Mmu& cpu, std::uint32_t type, std::uint64_t sector, std::uint64_t sectors,
                           std::uint32_t flags);
  [[nodiscard]] Result<void, Errno> check_range(std::uint64_t sector, std::uint64_t sectors) const;
  // blk_rq_map_sg: physically contiguous pieces within the segment limits.
  Result<std::deque<VringBuffer>, Errno> segments_of(paging::Mmu& cpu, VirtAddr buffer,
                                                     std::uint64_t bytes) const;
  // How much of it fits into one request, in whole logical blocks.
  [[nodiscard]] std::uint64_t request_bytes(const std::deque<VringBuffer>& segments) const;

  // A free request. -ETIMEDOUT: the device keeps them all.
  Result<std::uint32_t, Errno> acquire(paging::Mmu& cpu);
  // Puts it into the queue; on failure it is free again.
  Result<void, Errno> submit(paging::Mmu& cpu, std::uint32_t request, const spec::VirtioBlkOutHdr& header,
                             std::span<const VringBuffer> data, Payload payload);
  // Notifies and waits for all; the first failure of this call's requests.
  Result<void, Errno> finish(paging::Mmu& cpu);
  void kick_and_collect(paging::Mmu& cpu);
  void complete(paging::Mmu& cpu, std::uint32_t request);
  void note(Errno error);
  [[nodiscard]] PhysAddr phys_of(std::uint32_t request, std::uint64_t offset) const;

  VirtioBinding binding_;
  std::unique_ptr<Vring> queue_;
  Limits limits_;
  std::uint64_t capacity_ = 0;
  bool live_ = false;  // DRIVER_OK
  std::vector<Request> requests_;
  std::uint64_t request_pages_ = 0;
  std::uint32_t in_flight_ = 0;  // of the call that runs
  std::optional<Errno> failure_;
  bool interrupted_ = false;
  SiteId site_;
};

}  // namespace cbit::kernel
