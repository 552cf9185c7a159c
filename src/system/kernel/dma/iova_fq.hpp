// The flush queue of a lazily invalidated domain: drivers/iommu/dma-iommu.c, struct iova_fq. An IOVA whose
// mapping is gone from the table is given to nobody else before the IOTLB has been flushed: when a CPU's
// queue is full, or 10 ms after the first entry.
// Threading: as IommuDma's map and unmap, with its lock held; the timer takes it.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "base/clock.hpp"
#include "iommu/iova.hpp"
#include "kernel/dma/iommu_ops.hpp"

namespace cbit::kernel {

inline constexpr std::size_t iova_fq_size = 256;  // IOVA_FQ_SIZE; one place of the ring stays free
inline constexpr std::uint64_t iova_fq_timeout_ns = 10'000'000;  // IOVA_FQ_TIMEOUT

class IovaFlushQueue {
 public:
  // All outlive it.
  IovaFlushQueue(Clock& clock, std::mutex& lock, unsigned cpus, IommuMappings& mappings,
                 iommu::IovaAllocator& iova);

  // queue_iova(): `cpu` is the one that unmapped.
  void queue(unsigned cpu, DmaAddr first, std::uint64_t pages);

 private:
  struct Entry {
    DmaAddr first;
    std::uint64_t pages = 0;
    std::uint64_t flushes = 0;  // how many there had been when it came
  };
  using Ring = std::deque<Entry>;

  void flush();                   // fq_flush_iotlb()
  void free_flushed(Ring& ring);  // fq_ring_free()
  void on_timeout();

  std::mutex* lock_;
  IommuMappings* mappings_;
  iommu::IovaAllocator* iova_;
  std::uint64_t flushes_ = 0;
  std::vector<Ring> rings_;  // per CPU
  Timer timer_;
};

}  // namespace cbit::kernel
