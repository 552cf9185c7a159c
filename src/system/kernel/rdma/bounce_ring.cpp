#include "kernel/rdma/bounce_ring.hpp"

#include "base/cost.hpp"

namespace cbit::kernel {

Result<std::unique_ptr<BounceRing>, Errno> BounceRing::create(IbvContext& context, ibv_pd pd,
                                                              std::uint32_t slots, std::uint64_t slot_bytes) {
  if (slots == 0 || slot_bytes == 0) return tl::unexpected{Errno::einval};
  std::unique_ptr<BounceRing> ring{new BounceRing{context, slot_bytes}};
  ring->buffer_ = CBIT_TRY(context.ibv_alloc_buf(pd, slots * slot_bytes));
  ring->mr_ = CBIT_TRY(context.ibv_reg_buf_mr(
      pd, ring->buffer_, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ));
  for (std::uint32_t i = 0; i < slots; ++i) ring->free_.push_back(i);
  return ring;
}

BounceRing::~BounceRing() {
  if (mr_.lkey != 0) (void)context_->ibv_dereg_mr(mr_);
  if (buffer_.length != 0) (void)context_->ibv_free_buf(buffer_);
}

std::optional<BounceRing::Slot> BounceRing::acquire() {
  if (free_.empty()) return std::nullopt;
  const std::uint32_t index = free_.front();
  free_.pop_front();
  return Slot{buffer_.addr + index * slot_bytes_, index};
}

Result<void, Errno> BounceRing::copy(VirtAddr to, VirtAddr from, std::uint64_t bytes) {
  if (bytes > slot_bytes_) return tl::unexpected{Errno::einval};
  Bytes part(bytes);
  Process& process = context_->process();
  if (!process.read(from, part) || !process.write(to, part)) return tl::unexpected{Errno::efault};
  context_->device().kernel().machine().clock().charge(cost::cpu_copy_ns(bytes));
  ++copies_;
  bytes_copied_ += bytes;
  return {};
}

Result<void, Errno> BounceRing::copy_in(const Slot& slot, VirtAddr from, std::uint64_t bytes) {
  return copy(slot.at, from, bytes);
}

Result<void, Errno> BounceRing::copy_out(const Slot& slot, VirtAddr to, std::uint64_t bytes) {
  return copy(to, slot.at, bytes);
}

}  // namespace cbit::kernel
