// The slot search slot by slot, with the kernel's `list` as an array: what SwiotlbPool must equal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernel/dma/swiotlb_pool.hpp"

namespace cbit::kernel {

class NaivePool {
 public:
  using Request = SwiotlbPool::Request;
  using Outcome = SwiotlbPool::Outcome;

  NaivePool(KernelVersion version, std::uint64_t start, std::uint64_t slots, unsigned areas)
      : version_{version},
        start_{start},
        per_area_{slots / areas},
        list_(slots),
        size_(slots),
        areas_(areas) {
    for (std::uint64_t i = 0; i < slots; ++i) list_[i] = std::min<std::uint64_t>(128 - i % 128, slots - i);
  }

  SwiotlbPool::Found allocate(unsigned area, const Request& request) {
    const std::uint64_t wanted = (request.bytes + 2047) / 2048;
    if (wanted > per_area_ - areas_[area].used) return {};
    const SwiotlbPool::Found found =
        version_ == KernelVersion::v6_1 ? find_6_1(area, request, wanted) : find_later(area, request, wanted);
    if (found.outcome == Outcome::found) take(area, found.slot, wanted, request);
    return found;
  }

  // Frees the allocation that begins in `slot`.
  std::uint64_t release(std::uint64_t slot, std::uint64_t offset) {
    const std::uint64_t wanted = (size_[slot] + offset + 2047) / 2048;
    std::uint64_t run =
        (slot + wanted) % 128 == 0 || slot + wanted == list_.size() ? 0 : list_[slot + wanted];
    for (std::uint64_t i = slot + wanted; i-- > slot;) list_[i] = ++run;
    grow_back(slot, run);
    areas_[slot / per_area_].used -= wanted;
    return wanted;
  }

  [[nodiscard]] std::uint64_t list(std::uint64_t slot) const { return list_[slot]; }
  [[nodiscard]] std::uint64_t used(unsigned area) const { return areas_[area].used; }
  [[nodiscard]] std::uint64_t index(unsigned area) const { return areas_[area].index; }

 private:
  struct Area {
    std::uint64_t used = 0;
    std::uint64_t index = 0;
  };

  [[nodiscard]] std::uint64_t wrap(std::uint64_t index) const { return index < per_area_ ? index : 0; }
  [[nodiscard]] std::uint64_t bus_start(const Request& r) const { return start_ & r.boundary_mask; }
  [[nodiscard]] bool has_bits(std::uint64_t slot, const Request& r, std::uint64_t mask) const {
    return ((bus_start(r) + slot * 2048) & mask) == (r.orig.value() & mask);
  }
  [[nodiscard]] bool free_here(std::uint64_t slot, std::uint64_t wanted, const Request& r) const {
    const std::uint64_t segment = (r.boundary_mask >> 11) + 1;
    const std::uint64_t place = ((bus_start(r) + 2047) / 2048 + slot) & (segment - 1);
    return place + wanted <= segment && list_[slot] >= wanted;
  }

  SwiotlbPool::Found find_6_1(unsigned area, const Request& r, std::uint64_t wanted) const {
    const std::uint64_t zero_bits = r.alloc_align_mask | 2047;
    const std::uint64_t same_bits = r.min_align_mask & ~zero_bits;
    std::uint64_t stride = (same_bits >> 11) + 1;
    if (r.bytes >= 4096) stride *= 2;
    stride = std::max(stride, (zero_bits >> 11) + 1);

    const std::uint64_t base = area * per_area_;
    const std::uint64_t end = wrap((areas_[area].index + stride - 1) & ~(stride - 1));
    std::uint64_t index = end;
    for (std::uint64_t steps = 0; steps < 4 * per_area_; ++steps) {  // far more than there are states
      if (r.orig != PhysAddr{} && !has_bits(base + index, r, same_bits)) {
        index = wrap(index + 1);
      } else {
        if (free_here(base + index, wanted, r)) return {Outcome::found, base + index};
        index = wrap(index + stride);
      }
      if (index == end) return {};
    }
    return {Outcome::endless, 0};
  }

  SwiotlbPool::Found find_later(unsigned area, const Request& r, std::uint64_t wanted) const {
    std::uint64_t zero_bits = r.alloc_align_mask;
    if (zero_bits == 0 && r.min_align_mask == 0 && r.bytes >= 4096) zero_bits = 4095;
    zero_bits |= 2047;
    const std::uint64_t same_bits = r.min_align_mask & ~zero_bits;
    const std::uint64_t stride = (std::max(zero_bits, same_bits) >> 11) + 1;
    const std::uint64_t base = area * per_area_;
    std::uint64_t index = areas_[area].index;
    for (std::uint64_t checked = 0; checked < per_area_;) {
      const std::uint64_t bus = bus_start(r) + (base + index) * 2048;
      std::uint64_t step = 1;
      if ((bus & zero_bits) == 0 && (r.orig == PhysAddr{} || has_bits(base + index, r, same_bits))) {
        if (free_here(base + index, wanted, r)) return {Outcome::found, base + index};
        step = stride;
      }
      index = wrap(index + step);
      checked += step;
    }
    return {};
  }

  void take(unsigned area, std::uint64_t slot, std::uint64_t wanted, const Request& r) {
    const std::uint64_t offset = r.orig.value() & r.min_align_mask & 2047;
    for (std::uint64_t i = 0; i < wanted; ++i) {
      list_[slot + i] = 0;
      size_[slot + i] = r.bytes - offset - i * 2048;
    }
    grow_back(slot, 0);
    areas_[area].index = wrap(slot - area * per_area_ + wanted);
    areas_[area].used += wanted;
  }

  // The free slots of the set before `slot` count on from `run`.
  void grow_back(std::uint64_t slot, std::uint64_t run) {
    while (slot % 128 != 0 && list_[slot - 1] != 0) list_[--slot] = ++run;
  }

  KernelVersion version_;
  std::uint64_t start_;
  std::uint64_t per_area_;
  std::vector<std::uint64_t> list_;
  std::vector<std::uint64_t> size_;
  std::vector<Area> areas_;
};

}  // namespace cbit::kernel
