#include "kernel/dma/iova_fq.hpp"

namespace cbit::kernel {

IovaFlushQueue::IovaFlushQueue(Clock& clock, std::mutex& lock, unsigned cpus, IommuMappings& mappings,
                               iommu::IovaAllocator& iova)
    : lock_{&lock}, mappings_{&mappings}, iova_{&iova}, rings_(cpus), timer_{clock, [this] {
                                                                               on_timeout();
                                                                             }} {}

void IovaFlushQueue::queue(unsigned cpu, DmaAddr first, std::uint64_t pages) {
  Ring& ring = rings_[cpu];
  free_flushed(ring);
  if (ring.size() + 1 == iova_fq_size) {
    flush();
    free_flushed(ring);
  }
  ring.push_back({first, pages, flushes_});
  if (!timer_.pending()) timer_.start(timer_.clock().now_ns() + iova_fq_timeout_ns);
}

void IovaFlushQueue::flush() {
  mappings_->flush_iotlb_all();
  ++flushes_;
}

void IovaFlushQueue::free_flushed(Ring& ring) {
  for (; !ring.empty() && ring.front().flushes < flushes_; ring.pop_front())
    iova_->release(ring.front().first, ring.front().pages);
}

void IovaFlushQueue::on_timeout() {
  const std::scoped_lock hold{*lock_};
  flush();
  for (Ring& ring : rings_) free_flushed(ring);
}

}  // namespace cbit::kernel
