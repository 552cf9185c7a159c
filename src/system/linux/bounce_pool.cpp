#include "linux/bounce_pool.hpp"

#include <algorithm>

namespace cbit::linux {
namespace {

constexpr std::uint64_t slots_max = 1 << 20;  // of 2 GiB; Linux makes at most 1 GiB by itself
constexpr std::uint64_t areas_max = 8192;     // NR_CPUS
constexpr std::uint64_t slots_per_read = 1024;

}  // namespace

std::optional<BouncePool> BouncePool::of_memory(const Peek& peek, VirtAddr io_tlb_mem) {
  return at(peek, peek.place(io_tlb_mem, Field::tlb_default_pool).value_or(io_tlb_mem));
}

std::optional<BouncePool> BouncePool::at(const Peek& peek, VirtAddr pool) {
  const auto start = peek.value(pool, Field::pool_start), end = peek.value(pool, Field::pool_end);
  const auto slots = peek.pointer(pool, Field::pool_slots), areas = peek.pointer(pool, Field::pool_areas);
  if (!start || !end || !slots || *end <= *start || *end - *start > slots_max * spec::io_tlb_size)
    return std::nullopt;
  BouncePool made;
  made.start_ = PhysAddr{*start};
  made.end_ = PhysAddr{*end};
  made.slots_at_ = *slots;
  made.areas_at_ = areas.value_or(VirtAddr{});
  made.areas_ = areas ? std::min(peek.value(pool, Field::pool_areas_count).value_or(0), areas_max) : 0;
  made.area_slots_ = peek.value(pool, Field::pool_area_slots).value_or(0);
  return made;
}

unsigned BouncePool::area_of(std::uint64_t slot) const {
  return area_slots_ != 0 ? static_cast<unsigned>(slot / area_slots_) : 0;
}

std::optional<BouncePool::Slot> BouncePool::slot(const Peek& peek, std::uint64_t index) const {
  const auto stride = peek.fields()[Stride::io_tlb_slot];
  if (!stride || index >= slots()) return std::nullopt;
  const VirtAddr at = slots_at_ + index * *stride;
  const auto orig = peek.value(at, Field::slot_orig), alloc_size = peek.value(at, Field::slot_alloc_size);
  if (!orig || !alloc_size) return std::nullopt;
  return Slot{*orig, *alloc_size, peek.value(at, Field::slot_pad_slots).value_or(0)};
}

BouncePool::Usage BouncePool::usage(const Peek& peek) const {
  Usage found{.longest_run = longest_run(peek)};
  const auto stride = peek.fields()[Stride::io_tlb_area];
  for (std::uint64_t area = 0; stride && area < areas_; ++area)
    found.used += peek.value(areas_at_ + area * *stride, Field::area_used).value_or(0);
  return found;
}

// `list` of a slot counts the free slots from there to the end of its set.
std::uint64_t BouncePool::longest_run(const Peek& peek) const {
  const auto stride = peek.fields()[Stride::io_tlb_slot];
  const auto& list = peek.fields()[Field::slot_list];
  if (!stride || !list || list->offset() + list->bytes() > *stride || list->bytes() > sizeof(std::uint32_t))
    return 0;
  std::uint64_t longest = 0;
  for (std::uint64_t first = 0; first < slots(); first += slots_per_read) {
    Bytes raw(std::min(slots_per_read, slots() - first) * *stride);
    if (!peek.memory().read(slots_at_ + first * *stride, raw)) continue;
    for (std::uint64_t at = list->offset(); at < raw.size(); at += *stride) {
      const std::uint64_t run =
          list->bytes() == 2 ? load<std::uint16_t>(raw, at) : load<std::uint32_t>(raw, at);
      longest = std::max(longest, run);
    }
  }
  return longest;
}

}  // namespace cbit::linux
