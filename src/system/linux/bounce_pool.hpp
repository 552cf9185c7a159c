// SWIOTLB of a running kernel: struct io_tlb_mem, and since 6.6 the struct io_tlb_pool in it.
// kernel/dma/swiotlb.c.
#pragma once

#include <cstdint>
#include <optional>

#include "linux/peek.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::linux {

class BouncePool {
 public:
  struct Slot {
    std::uint64_t orig = 0;
    std::uint64_t alloc_size = 0;
    std::uint64_t pad_slots = 0;
  };
  struct Usage {
    std::uint64_t used = 0;
    std::uint64_t longest_run = 0;
  };

  // The default pool of an io_tlb_mem; nullopt: not mapped, or it was never set up.
  static std::optional<BouncePool> of_memory(const Peek& peek, VirtAddr io_tlb_mem);
  // An io_tlb_pool, as functions take it since 6.10; before, the io_tlb_mem itself.
  static std::optional<BouncePool> at(const Peek& peek, VirtAddr pool);

  [[nodiscard]] PhysAddr start() const { return start_; }
  [[nodiscard]] PhysAddr end() const { return end_; }
  [[nodiscard]] std::uint64_t slots() const { return (end_ - start_) / spec::io_tlb_size; }
  [[nodiscard]] bool contains(PhysAddr at) const { return at >= start_ && at < end_; }
  [[nodiscard]] std::uint64_t slot_of(PhysAddr at) const { return (at - start_) / spec::io_tlb_size; }
  [[nodiscard]] unsigned area_of(std::uint64_t slot) const;

  [[nodiscard]] std::optional<Slot> slot(const Peek& peek, std::uint64_t index) const;
  [[nodiscard]] Usage usage(const Peek& peek) const;

 private:
  [[nodiscard]] std::uint64_t longest_run(const Peek& peek) const;

  PhysAddr start_;
  PhysAddr end_;
  VirtAddr slots_at_;
  VirtAddr areas_at_;
  std::uint64_t areas_ = 0;
  std::uint64_t area_slots_ = 0;
};

// 6.10 changed how offsets inside a slot are treated; its mark is that slots can be padding.
[[nodiscard]] inline bool pads_slots(const Fields& fields) { return fields.has(Field::slot_pad_slots); }

}  // namespace cbit::linux
