// User memory that an RDMA device may reach: drivers/infiniband/core/umem.c, umem_dmabuf.c.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "kernel/mm/process.hpp"
#include "kernel/rdma/dma_heap.hpp"
#include "kernel/rdma/ib_device.hpp"

namespace cbit::kernel {

// Why there is no umem: the errno, and the word of MrRefused.
struct UmemRefusal {
  Errno error{};
  std::string_view reason;
};

class IbUmem {
 public:
  // ib_umem_get(): pins the pages and maps them once, in both directions, for as long as the region lives.
  //   EINVAL      the range wraps around, or is empty
  //   EPERM       no right to lock memory at all
  //   EOPNOTSUPP  IBV_ACCESS_ON_DEMAND; [7.2] the device's DMA would bounce
  //   ENOMEM      pinned_vm would exceed RLIMIT_MEMLOCK
  //   EFAULT      part of the range is not the process' memory
  //   EIO         the DMA layer could not map an entry: over 256 KiB where it bounces, or a full pool
  // `device` and `process` outlive it; `cpu` executes the call.
  static Result<std::unique_ptr<IbUmem>, UmemRefusal> get(IbDevice& device, Process& process,
                                                          paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes,
                                                          unsigned access);
  // ib_umem_dmabuf_get_pinned(): `bytes` of the buffer from `offset` on. EINVAL: beyond its end.
  static Result<std::unique_ptr<IbUmem>, UmemRefusal> get_dmabuf(IbDevice& device, const DmaBuf& buffer,
                                                                 paging::Mmu& cpu, std::uint64_t offset,
                                                                 std::uint64_t bytes);
  // ib_umem_release(): unmaps, which copies a bounced region back over the pages; then unpins them as dirty.
  ~IbUmem();
  IbUmem(const IbUmem&) = delete;
  IbUmem& operator=(const IbUmem&) = delete;

  // What the device is told: the region's bytes, in order.
  [[nodiscard]] std::vector<dev::rdma::Segment> segments() const;
  [[nodiscard]] DmaReach reach() const;
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t sg_entries() const { return mapped_; }

 private:
  IbUmem(IbDevice& device, paging::Mmu& cpu, std::uint64_t first_offset, std::uint64_t bytes)
      : device_{&device}, cpu_{&cpu}, first_offset_{first_offset}, bytes_{bytes} {}
  Result<void, UmemRefusal> map(DmaAttrs attrs);

  IbDevice* device_;
  paging::Mmu* cpu_;
  std::uint64_t first_offset_;  // of the first byte within the first entry
  std::uint64_t bytes_;
  DmaAttrs attrs_;
  Process* process_ = nullptr;  // owning_mm; nullptr: a dma-buf
  bool writable_ = false;       // pages are dirty when they are unpinned
  std::vector<PhysAddr> pages_;
  std::vector<ScatterEntry> sg_;
  std::size_t mapped_ = 0;
};

}  // namespace cbit::kernel
