#include "kernel/dma/swiotlb_pool.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <thread>

#include "base/assert.hpp"
#include "kernel/dma/swiotlb.hpp"

namespace cbit::kernel {
namespace {

__extension__ using Bits = unsigned __int128;

constexpr std::uint64_t no_slot = ~std::uint64_t{0};

class AreaLock {
 public:
  explicit AreaLock(SwiotlbPool::Area& area) : area_{area} {
    while (area_.locked.exchange(true, std::memory_order_acquire))
      while (area_.locked.load(std::memory_order_relaxed)) std::this_thread::yield();
  }
  ~AreaLock() { area_.locked.store(false, std::memory_order_release); }
  AreaLock(const AreaLock&) = delete;
  AreaLock& operator=(const AreaLock&) = delete;

 private:
  SwiotlbPool::Area& area_;
};

// Only the holder of the area's lock changes the count.
void add(std::atomic<std::uint64_t>& count, std::uint64_t n) {
  count.store(count.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

// ALIGN() of the kernel, which a stride that is no power of two makes meaningless but not undefined.
constexpr std::uint64_t kernel_align(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

constexpr Bits low_bits(std::uint64_t n) { return n >= io_tlb_segsize ? ~Bits{0} : (Bits{1} << n) - 1; }

// [k]: every 2^k-th bit from bit 0.
constexpr auto every_nth_bit = [] {
  std::array<Bits, 8> table{};
  for (unsigned k = 0; k < table.size(); ++k)
    for (unsigned bit = 0; bit < io_tlb_segsize; bit += 1u << k) table[k] |= Bits{1} << bit;
  return table;
}();

unsigned lowest_bit(Bits bits) {
  const auto low = static_cast<std::uint64_t>(bits);
  return static_cast<unsigned>(low != 0 ? std::countr_zero(low)
                                        : 64 + std::countr_zero(static_cast<std::uint64_t>(bits >> 64)));
}

// The slots of a set at which a run of n free slots starts.
Bits run_starts(Bits free, std::uint64_t n) {
  if (n > io_tlb_segsize) return 0;
  for (std::uint64_t have = 1; have < n && free != 0;) {
    const std::uint64_t step = std::min(have, n - have);
    free &= free >> step;
    have += step;
  }
  return free;
}

bool spans_boundary(std::uint64_t slot, const SwiotlbPool::Plan& plan) {
  const std::uint64_t in_segment = (spec::nr_slots(plan.bus_first) + slot) & (plan.boundary_slots - 1);
  return in_segment + plan.slots > plan.boundary_slots;
}

bool matches(std::uint64_t slot, const SwiotlbPool::Plan& plan) {
  return ((plan.bus_first + (slot << io_tlb_shift)) & plan.match_mask) == plan.match;
}

// Areas that are whole sets.
unsigned whole_areas(std::uint64_t slots, unsigned areas) {
  while (areas > 1 && slots % (areas * io_tlb_segsize) != 0) areas /= 2;
  return areas;
}

}  // namespace

SwiotlbPool::SwiotlbPool(KernelVersion version, mem::PhysRange memory, unsigned areas)
    : version_{version}, memory_{memory} {
  const std::uint64_t count = memory.bytes >> io_tlb_shift;
  CBIT_ASSERT(count > 0 && memory.first.is_aligned(page_size) && std::has_single_bit(areas));
  memory_.bytes = count << io_tlb_shift;
  area_count_ = whole_areas(count, areas);
  area_slots_ = count / area_count_;
  areas_ = std::make_unique<Area[]>(area_count_);
  slots_.resize(count);
  free_.assign((count + io_tlb_segsize - 1) / io_tlb_segsize, ~Bits{0});
  if (count % io_tlb_segsize != 0) free_.back() = low_bits(count % io_tlb_segsize);
}

void SwiotlbPool::mark_used() {
  std::ranges::fill(free_, Bits{0});
  for (unsigned n = 0; n < area_count_; ++n) {
    areas_[n].index = 0;
    areas_[n].used.store(area_slots_, std::memory_order_relaxed);
  }
}

// ---- search ---------------------------------------------------------------------------------------------

SwiotlbPool::Plan SwiotlbPool::plan(const Request& request) const {
  constexpr std::uint64_t in_slot = io_tlb_size - 1;
  const std::uint64_t device_mask = request.min_align_mask;
  std::uint64_t alloc_mask = request.alloc_align_mask;  // bits that must be 0
  std::uint64_t orig_mask = 0;                          // bits that must equal the original's
  Plan plan;
  switch (version_) {
    case KernelVersion::v6_1:  // alloc_mask only widens the stride
      alloc_mask |= in_slot;
      orig_mask = device_mask & ~alloc_mask;
      plan.stride = (orig_mask >> io_tlb_shift) + 1;
      if (request.bytes >= page_size) plan.stride *= page_size / io_tlb_size;
      plan.stride = std::max(plan.stride, (alloc_mask >> io_tlb_shift) + 1);
      alloc_mask = 0;
      break;
    case KernelVersion::v6_6:
    case KernelVersion::v6_10:
    case KernelVersion::v6_12:
    case KernelVersion::v6_19:
    case KernelVersion::v7_2:
    case KernelVersion::v7_3:
    case KernelVersion::next:
      if (alloc_mask == 0 && device_mask == 0 && request.bytes >= page_size) alloc_mask = page_size - 1;
      alloc_mask |= in_slot;
      orig_mask = device_mask & ~alloc_mask;
      plan.stride = (std::max(alloc_mask, orig_mask) >> io_tlb_shift) + 1;
      break;
  }
  if (request.orig == PhysAddr{}) orig_mask = 0;
  plan.slots = spec::nr_slots(request.bytes);
  plan.match_mask = alloc_mask | orig_mask;
  plan.match = request.orig.value() & orig_mask;
  plan.boundary_slots = (request.boundary_mask >> io_tlb_shift) + 1;
  plan.bus_first = memory_.first.value() & request.boundary_mask;
  plan.bytes = request.bytes;
  plan.offset = request.orig.value() & device_mask & in_slot;
  const std::uint64_t period = std::bit_ceil((plan.match_mask >> io_tlb_shift) + 1);
  plan.strided = (plan.stride & (plan.stride - 1)) == 0 && plan.stride >= period;
  return plan;
}

SwiotlbPool::Found SwiotlbPool::allocate(unsigned n, const Plan& plan) {
  Area& area = areas_[n];
  const AreaLock lock{area};
  const std::uint64_t used = area.used.load(std::memory_order_relaxed);
  if (plan.slots > area_slots_ - used) return {};

  std::uint64_t start = area.index;
  if (version_ == KernelVersion::v6_1) start = kernel_align(start, plan.stride);
  if (start >= area_slots_) start = 0;
  const std::uint64_t base = n * area_slots_;
  const Found found = search(base, start, plan);
  if (found.outcome != Outcome::found) return found;

  take(found.slot, plan);
  const std::uint64_t next = found.slot - base + plan.slots;
  area.index = next < area_slots_ ? static_cast<std::uint32_t>(next) : 0;
  add(area.used, plan.slots);
  return found;
}

// The kernel's loop over the slots of an area: one that does not match is followed by the next, one that does
// by the one a stride on, the last by slot 0. 6.1 ends when it is back at the start, and never if it steps
// over that; the others end when they have gone as far as the area is long. Slots that match are looked at a
// set at a time.
SwiotlbPool::Found SwiotlbPool::search(std::uint64_t base, std::uint64_t start, const Plan& plan) const {
  if (fits(base + start, plan)) return {Outcome::found, base + start};  // as where little is in use
  const bool until_start = version_ == KernelVersion::v6_1;
  std::uint64_t index = start;
  std::uint64_t checked = 0;
  for (unsigned rounds = 0; rounds < 2;) {
    std::uint64_t advance = 1;
    if (matches(base + index, plan)) {
      advance = plan.stride;
      std::uint64_t candidates = 1;
      if (plan.strided) {
        const std::uint64_t set_left = std::min(io_tlb_segsize - index % io_tlb_segsize, area_slots_ - index);
        const std::uint64_t end =
            until_start ? (index < start ? start - index : set_left) : area_slots_ - checked;
        const auto shift = static_cast<unsigned>(std::countr_zero(plan.stride));
        candidates = (std::min(set_left, end) + plan.stride - 1) >> shift;
        advance = candidates << shift;
      }
      const std::uint64_t slot = first_fit(base + index, candidates, plan);
      if (slot != no_slot) return {Outcome::found, slot};
    }
    index += advance;
    checked += advance;
    if (index >= area_slots_) {
      index = 0;
      ++rounds;
    }
    if (until_start ? index == start : checked >= area_slots_) return {};
  }
  return {Outcome::endless, 0};
}

bool SwiotlbPool::fits(std::uint64_t slot, const Plan& plan) const {
  return matches(slot, plan) && list(slot) >= plan.slots && !spans_boundary(slot, plan);
}

// The first of `candidates` slots from `slot` on, a stride apart and all in one set, that a run can start at.
std::uint64_t SwiotlbPool::first_fit(std::uint64_t slot, std::uint64_t candidates, const Plan& plan) const {
  const std::uint64_t at = slot % io_tlb_segsize;
  const Bits starts = run_starts(free_[slot / io_tlb_segsize], plan.slots);
  if (starts == 0) return no_slot;
  const auto nth = std::min<std::size_t>(every_nth_bit.size() - 1, std::bit_width(plan.stride) - 1u);
  Bits fits = starts & every_nth_bit[nth] << at & low_bits(at + (candidates - 1) * plan.stride + 1);
  for (; fits != 0; fits &= fits - 1) {
    const std::uint64_t fit = slot - at + lowest_bit(fits);
    if (!spans_boundary(fit, plan)) return fit;
  }
  return no_slot;
}

void SwiotlbPool::take(std::uint64_t slot, const Plan& plan) {
  free_[slot / io_tlb_segsize] &= ~(low_bits(plan.slots) << slot % io_tlb_segsize);
  auto left = static_cast<std::int32_t>(plan.bytes - plan.offset);
  for (std::uint64_t i = slot; i < slot + plan.slots; ++i, left -= static_cast<std::int32_t>(io_tlb_size))
    slots_[i].bytes_left = left;
}

void SwiotlbPool::set_original(std::uint64_t slot, std::uint64_t slots, std::uint16_t pad_slots,
                               PhysAddr orig) {
  slots_[slot + pad_slots].pad_slots = pad_slots;
  for (std::uint64_t i = pad_slots; i < slots; ++i)
    slots_[slot + i].orig = orig + ((i - pad_slots) << io_tlb_shift);
}

// ---- release --------------------------------------------------------------------------------------------

SwiotlbPool::Released SwiotlbPool::release(PhysAddr at, std::uint64_t min_align_mask) {
  CBIT_ASSERT(contains(at));
  const std::uint64_t offset = at.value() & min_align_mask & (io_tlb_size - 1);
  std::uint64_t slot = slot_of(at - offset);
  slot -= slots_[slot].pad_slots;
  Area& area = areas_[static_cast<std::uint32_t>(slot) / static_cast<std::uint32_t>(area_slots_)];

  const AreaLock lock{area};
  const std::int64_t bytes = std::int64_t{slots_[slot].bytes_left} + static_cast<std::int64_t>(offset);
  if (bytes <= 0) return {slot, 0};
  const std::uint64_t set_end = std::min(align_down(slot, io_tlb_segsize) + io_tlb_segsize, slots());
  const std::uint64_t count = std::min(spec::nr_slots(static_cast<std::uint64_t>(bytes)), set_end - slot);
  free_[slot / io_tlb_segsize] |= low_bits(count) << slot % io_tlb_segsize;
  std::fill_n(slots_.begin() + static_cast<std::ptrdiff_t>(slot), count, Slot{});
  add(area.used, -count);
  return {slot, count};
}

// ---- observation ----------------------------------------------------------------------------------------

std::uint64_t SwiotlbPool::used() const {
  std::uint64_t sum = 0;
  for (unsigned n = 0; n < area_count_; ++n) sum += areas_[n].used.load(std::memory_order_relaxed);
  return sum;
}

unsigned SwiotlbPool::list(std::uint64_t slot) const {
  const auto at = static_cast<unsigned>(slot % io_tlb_segsize);
  const Bits used = ~(free_[slot / io_tlb_segsize] >> at);
  const auto left = static_cast<unsigned>(io_tlb_segsize) - at;
  return used == 0 ? left : std::min(lowest_bit(used), left);
}

unsigned SwiotlbPool::longest_run() {
  unsigned longest = 0;
  for (std::size_t set = 0; set < free_.size(); ++set) {
    const AreaLock lock{areas_[set * io_tlb_segsize / area_slots_]};
    unsigned run = 0;
    for (Bits starts = free_[set]; starts != 0; starts &= starts >> 1) ++run;
    longest = std::max(longest, run);
  }
  return longest;
}

}  // namespace cbit::kernel
