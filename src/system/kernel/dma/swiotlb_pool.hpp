// One SWIOTLB pool: which slots are free, and whose buffer the used ones bounce. struct io_tlb_pool with its
// areas and slots (io_tlb_mem in 6.1). No memory is accessed here.
//
// Linux keeps for every slot the length of the free run that starts there (`list`). Here a set of 128 slots
// is 128 bits, 1 = free; `list` is what can be read off them. The search visits the same slots in the same
// order as the kernel's of the version, a set at a time instead of a slot at a time, and so takes the same
// slot.
//
// Threading: allocate and release lock the area; a slot's record belongs to whoever allocated it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cbit/addr.hpp"
#include "cbit/kernel_config.hpp"
#include "mem/memory.hpp"

namespace cbit::kernel {

class SwiotlbPool {
 public:
  // INVALID_PHYS_ADDR
  static constexpr PhysAddr no_address{~std::uint64_t{0}};

  // struct io_tlb_slot without `list`.
  struct Slot {
    PhysAddr orig = no_address;
    std::int32_t bytes_left =
        0;  // alloc_size: from here to the end of the request; negative where padding ends it
    std::uint16_t pad_slots = 0;  // [6.10] unused slots before this one, the mapping's first
  };
  static_assert(sizeof(Slot) == 16);

  struct Area {
    alignas(64) std::atomic<bool> locked = false;
    std::uint32_t index = 0;              // where the next search starts
    std::atomic<std::uint64_t> used = 0;  // slots; written with the lock held
    std::atomic<std::uint64_t> quota =
        0;  // `used` may reach this before the high-water mark has to be looked at
  };

  // What a mapping asks of the pool.
  struct Request {
    PhysAddr orig;            // 0: no original (swiotlb_alloc)
    std::uint64_t bytes = 0;  // including the offset and padding; at least 1
    std::uint64_t alloc_align_mask = 0;
    std::uint64_t min_align_mask = 0;
    std::uint64_t boundary_mask = ~std::uint64_t{0};  // 2^n - 1
  };

  // A request worked out for the pool: the stride of the search and the address bits that a slot must have.
  struct Plan {
    std::uint64_t slots = 0;   // wanted
    std::uint64_t stride = 1;  // from one slot that fits to the next
    std::uint64_t match_mask = 0;
    std::uint64_t match = 0;           // (bus address of the slot & match_mask) must be this
    std::uint64_t boundary_slots = 0;  // no run crosses a multiple of this
    std::uint64_t bus_first = 0;       // the pool's start within the boundary
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0;  // of the original in its slot
    bool strided = false;  // the stride is 2^n slots, and leads from a slot that matches to another that does
  };

  enum class Outcome : std::uint8_t { found, full, endless };
  struct Found {
    Outcome outcome = Outcome::full;
    std::uint64_t slot = 0;
  };

  // `memory` starts at a page and holds a slot; `areas` is a power of two. Where Linux corrupts its slots,
  // the model does not: areas are limited to whole sets (6.1 lets areas with different locks share a set
  // after an allocation that had to be halved), and a last, partial set ends with the pool (6.1 and 6.6 hand
  // out slots beyond it).
  SwiotlbPool(KernelVersion version, mem::PhysRange memory, unsigned areas);
  // swiotlb_mark_pool_used [7.3]: no slot is free, and none ever will be.
  void mark_used();

  [[nodiscard]] Plan plan(const Request& request) const;

  // Searches one area and takes the slots: swiotlb_do_find_slots [6.1], swiotlb_area_find_slots [6.6],
  // swiotlb_search_pool_area [6.10]. `endless`: 6.1's loop steps over the slot that ends it and spins.
  [[nodiscard]] Found allocate(unsigned area, const Plan& plan);

  // Records whose buffer the allocation bounces; its first `pad_slots` belong to none.
  void set_original(std::uint64_t slot, std::uint64_t slots, std::uint16_t pad_slots, PhysAddr orig);

  // swiotlb_release_slots: frees the whole allocation of which `at` is the bounce address. Any address of the
  // pool is safe, as drivers' mistakes end up here: a wrong one frees the rest of an allocation, or nothing.
  struct Released {
    std::uint64_t slot = 0;
    std::uint64_t slots = 0;
  };
  Released release(PhysAddr at, std::uint64_t min_align_mask);

  [[nodiscard]] const mem::PhysRange& memory() const { return memory_; }
  [[nodiscard]] bool contains(PhysAddr at) const { return memory_.contains(at, 1); }
  [[nodiscard]] std::uint64_t slots() const { return slots_.size(); }
  [[nodiscard]] unsigned areas() const { return area_count_; }
  [[nodiscard]] Area& area(unsigned n) { return areas_[n]; }
  [[nodiscard]] const Area& area(unsigned n) const { return areas_[n]; }
  [[nodiscard]] std::uint64_t slot_of(PhysAddr at) const { return (at - memory_.first) >> 11; }
  [[nodiscard]] PhysAddr address_of(std::uint64_t slot) const { return memory_.first + (slot << 11); }
  [[nodiscard]] Slot& slot(std::uint64_t n) { return slots_[n]; }
  [[nodiscard]] const Slot& slot(std::uint64_t n) const { return slots_[n]; }

  [[nodiscard]] std::uint64_t used() const;
  // The kernel's slots[n].list: free slots from n to the end of its set.
  [[nodiscard]] unsigned list(std::uint64_t slot) const;
  [[nodiscard]] unsigned longest_run();

 private:
  __extension__ using Bits = unsigned __int128;  // one per slot of a set, lowest first

  [[nodiscard]] Found search(std::uint64_t base, std::uint64_t start, const Plan& plan) const;
  [[nodiscard]] bool fits(std::uint64_t slot, const Plan& plan) const;
  [[nodiscard]] std::uint64_t first_fit(std::uint64_t slot, std::uint64_t candidates, const Plan& plan) const;
  void take(std::uint64_t slot, const Plan& plan);

  KernelVersion version_;
  mem::PhysRange memory_;
  unsigned area_count_;
  std::uint64_t area_slots_;
  std::unique_ptr<Area[]> areas_;
  std::vector<Bits> free_;
  std::vector<Slot> slots_;
};

}  // namespace cbit::kernel
