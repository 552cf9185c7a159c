// A library of the application: private data moves through a ring of slots in memory that the device can
// reach.
//
// The ring is one region, registered once; the application copies into a slot before a transfer and out of it
// after one. The copies are the CPU's, and encrypt or decrypt as they go.
#pragma once

#include <deque>

#include "kernel/rdma/verbs.hpp"

namespace cbit::kernel {

class BounceRing {
 public:
  struct Slot {
    VirtAddr at;
    std::uint32_t index = 0;
  };

  // `pd` is a parent domain that allows CC-unprotected memory, where the platform needs it; `context`
  // outlives the ring. Errors: EINVAL for an empty ring, and those of ibv_alloc_buf and ibv_reg_mr.
  static Result<std::unique_ptr<BounceRing>, Errno> create(IbvContext& context, ibv_pd pd,
                                                           std::uint32_t slots, std::uint64_t slot_bytes);
  ~BounceRing();
  BounceRing(const BounceRing&) = delete;
  BounceRing& operator=(const BounceRing&) = delete;

  // nullopt: all are in use.
  std::optional<Slot> acquire();
  void release(const Slot& slot) { free_.push_back(slot.index); }
  // EINVAL: more than a slot holds. EFAULT: not the process' memory.
  Result<void, Errno> copy_in(const Slot& slot, VirtAddr from, std::uint64_t bytes);
  Result<void, Errno> copy_out(const Slot& slot, VirtAddr to, std::uint64_t bytes);

  [[nodiscard]] const ibv_mr& mr() const { return mr_; }
  [[nodiscard]] std::uint64_t slot_bytes() const { return slot_bytes_; }
  // So far, in both directions.
  [[nodiscard]] std::uint64_t copies() const { return copies_; }
  [[nodiscard]] std::uint64_t bytes_copied() const { return bytes_copied_; }

 private:
  BounceRing(IbvContext& context, std::uint64_t slot_bytes) : context_{&context}, slot_bytes_{slot_bytes} {}
  Result<void, Errno> copy(VirtAddr to, VirtAddr from, std::uint64_t bytes);

  IbvContext* context_;
  std::uint64_t slot_bytes_;
  ibv_buf buffer_;
  ibv_mr mr_;
  std::deque<std::uint32_t> free_;
  std::uint64_t copies_ = 0;
  std::uint64_t bytes_copied_ = 0;
};

}  // namespace cbit::kernel
