#include "kernel/dma/swiotlb.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.hpp"
#include "base/cost.hpp"
#include "kernel/dma/swiotlb_state.hpp"

namespace cbit::kernel {
namespace {

using Outcome = SwiotlbPool::Outcome;

constexpr std::string_view source_map = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single";
constexpr std::string_view source_unmap = "kernel/dma/swiotlb.c: swiotlb_tbl_unmap_single";
constexpr std::string_view source_sync = "kernel/dma/swiotlb.c: swiotlb_sync_single_for_cpu";
constexpr std::string_view source_bounce = "kernel/dma/swiotlb.c: swiotlb_bounce";

// The sum, or what is too large for any pool: where Linux would wrap around, the request is refused.
std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) {
  return a + b < a ? ~std::uint64_t{0} : a + b;
}

bool to_device(DmaDirection d) { return d == DmaDirection::to_device || d == DmaDirection::bidirectional; }
bool from_device(DmaDirection d) {
  return d == DmaDirection::from_device || d == DmaDirection::bidirectional;
}

// What the kernel's BUG_ONs in the search and in iommu_is_span_boundary() ask for.
bool well_formed(const SwiotlbPool::Request& request) {
  const std::uint64_t boundary_slots = (request.boundary_mask >> io_tlb_shift) + 1;
  return request.bytes != 0 && (boundary_slots & (boundary_slots - 1)) == 0;
}

}  // namespace

Swiotlb::Swiotlb(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Swiotlb::~Swiotlb() = default;

void Swiotlb::use_atomic_memory(AtomicMemory memory) { impl_->atomic_memory = std::move(memory); }
bool Swiotlb::force_bounce() const { return impl_->force_bounce; }
bool Swiotlb::cc_shared() const { return impl_->encrypted; }
bool Swiotlb::for_alloc() const { return impl_->for_alloc; }
mem::PhysRange Swiotlb::default_pool() const { return impl_->pools.front()->memory(); }

// ---- finding slots --------------------------------------------------------------------------------------

// Newest pool first (list_add_rcu); in each, the areas from the CPU's own on.
void Swiotlb::Impl::search_by_pool(unsigned cpu, const SwiotlbPool::Request& request, Allocation& result) {
  for (auto pool = pools.rbegin(); pool != pools.rend(); ++pool) {
    const SwiotlbPool::Plan plan = (*pool)->plan(request);
    const unsigned areas = (*pool)->areas();
    for (unsigned i = 0; i < areas; ++i) {
      const unsigned area = (cpu + i) & (areas - 1);
      const SwiotlbPool::Found found = (*pool)->allocate(area, plan);
      if (found.outcome != Outcome::full) return result.set(found, **pool, area, plan.slots);
    }
  }
}

// [6.10] with dynamic pools: the CPU's own area in every pool, then the next in every pool that has so many.
void Swiotlb::Impl::search_by_area(unsigned cpu, const SwiotlbPool::Request& request, Allocation& result) {
  for (unsigned i = 0; i < default_areas; ++i) {
    for (auto pool = pools.rbegin(); pool != pools.rend(); ++pool) {
      const unsigned areas = (*pool)->areas();
      if (i >= areas) continue;
      const unsigned area = (cpu + i) & (areas - 1);
      const SwiotlbPool::Plan plan = (*pool)->plan(request);
      const SwiotlbPool::Found found = (*pool)->allocate(area, plan);
      if (found.outcome == Outcome::found) return result.set(found, **pool, area, plan.slots);
    }
  }
}

// swiotlb_find_slots()
Swiotlb::Impl::Allocation Swiotlb::Impl::find_slots(paging::Mmu& cpu, Device& dev,
                                                    const SwiotlbPool::Request& request) {
  Allocation result;
  if (!can_grow || version < KernelVersion::v6_10)
    search_by_pool(cpu.agent().index, request, result);
  else if (request.bytes <= swiotlb_segment_bytes)
    search_by_area(cpu.agent().index, request, result);
  else
    return result;
  if (result.outcome == Outcome::full && can_grow) allocate_transient(cpu, dev, request, result);
  if (result.outcome != Outcome::found) return result;

  const SwiotlbPool::Area& area = result.pool->area(result.area);
  if (area.used.load(std::memory_order_relaxed) > area.quota.load(std::memory_order_relaxed)) raise_hiwater();
  step(cpu, search_source, [&] {
    return fmt::format("{} slot{} from slot {} on, in area {}; {} of {} slots are in use now", result.slots,
                       result.slots == 1 ? "" : "s", result.slot, result.area, used(), slots);
  });
  return result;
}

SwiotlbPool* Swiotlb::Impl::find_pool(const Device& dev, PhysAddr at) {
  for (const auto& pool : pools)
    if (pool->contains(at)) return pool.get();
  for (const auto& own : transient)
    if (own->dev == &dev && own->pool.contains(at)) return &own->pool;
  return nullptr;
}

std::uint64_t Swiotlb::Impl::used() const {
  std::uint64_t sum = transient_slots;
  for (const auto& pool : pools) sum += pool->used();
  return sum;
}

std::optional<std::uint64_t> Swiotlb::Impl::used_hiwater() const {
  if (version == KernelVersion::v6_1) return std::nullopt;
  const bool kept = version < KernelVersion::v7_3 || track_hiwater;
  return kept ? hiwater.load(std::memory_order_relaxed) : 0;
}

// The high-water mark of all areas together, without a counter that all of them write: each may use up to its
// quota, and as all quotas together are the mark, only an area that exceeds its own has to look. Exact but
// for mappings that other CPUs make at the same moment.
void Swiotlb::Impl::raise_hiwater() {
  const std::lock_guard lock{hiwater_mutex};
  const std::uint64_t total = used();
  const std::uint64_t mark = std::max(hiwater.load(std::memory_order_relaxed), total);
  hiwater.store(mark, std::memory_order_relaxed);
  unsigned areas = 0;
  for (const auto& pool : pools) areas += pool->areas();
  const std::uint64_t spare = (mark - total) / areas;
  for (const auto& pool : pools)
    for (unsigned n = 0; n < pool->areas(); ++n) {
      SwiotlbPool::Area& area = pool->area(n);
      area.quota.store(area.used.load(std::memory_order_relaxed) + spare, std::memory_order_relaxed);
    }
}

// ---- refusals -------------------------------------------------------------------------------------------

void Swiotlb::Impl::report_refusal(paging::Mmu& cpu, const Device& dev, const SwiotlbPool::Request& request,
                                   const Allocation& result, std::uint64_t printed_bytes, bool quiet) {
  if (!tracer.enabled()) return;
  const SwiotlbPool::Plan plan = pools.front()->plan(request);
  std::uint64_t longest = 0;
  for (const auto& pool : pools) longest = std::max<std::uint64_t>(longest, pool->longest_run());
  const bool endless = result.outcome == Outcome::endless;
  tracer.emit(cpu.agent(), SwiotlbFull{.device = dev.name_id,
                                       .bytes = printed_bytes,
                                       .slots_wanted = plan.slots,
                                       .segment_slots = io_tlb_segsize,
                                       .slots_total = slots,
                                       .slots_used = used(),
                                       .longest_run = longest,
                                       .align_mask = request.alloc_align_mask | request.min_align_mask,
                                       .growth_possible = can_grow,
                                       .growth_failed = result.growth_failed,
                                       .endless_search = endless});
  step(cpu, search_source, [&] {
    if (plan.slots > io_tlb_segsize)
      return fmt::format("{} slots are wanted, and no run is longer than a set, {}", plan.slots,
                         io_tlb_segsize);
    return fmt::format("{} slots are wanted every {}; {} of {} are in use, the longest free run has {}",
                       plan.slots, plan.stride, used(), slots, longest);
  });
  if (endless) {
    step(cpu, search_source, [] {
      return std::string{
          "the search ends where it began, and having stepped aside for the alignment it never comes by "
          "there again: the CPU spins with the area's lock held (fixed in 6.3)"};
    });
    message(cpu, [&] {
      return fmt::format("NMI watchdog: Watchdog detected hard LOCKUP on cpu {}", cpu.agent().index);
    });
  } else if (!quiet) {
    message(cpu, [&] {
      return fmt::format("swiotlb buffer is full (sz: {} bytes), total {} (slots), used {} (slots)",
                         static_cast<std::int64_t>(printed_bytes), slots, used());
    });
  }
}

// ---- mapping --------------------------------------------------------------------------------------------

// What tbl_map_single makes of its sizes; nullopt where the kernel refuses them. 6.6 lets the offset exceed a
// slot, 6.10 computes the size of the allocation itself.
std::optional<Swiotlb::Impl::Measured> Swiotlb::Impl::measure(paging::Mmu& cpu, const Device& dev,
                                                              PhysAddr orig, std::uint64_t mapping_size,
                                                              std::uint64_t alloc_size,
                                                              std::uint64_t alloc_align_mask) {
  constexpr std::uint64_t in_slot = io_tlb_size - 1;
  const std::uint64_t align_mask = version >= KernelVersion::v6_6 ? alloc_align_mask | in_slot : in_slot;
  Measured result{.request = {orig, 0, alloc_align_mask, dev.min_align_mask, dev.seg_boundary()},
                  .offset = orig.value() & dev.min_align_mask & align_mask,
                  .printed_bytes = alloc_size};
  if (version >= KernelVersion::v6_10) {
    if (alloc_align_mask >= page_size)
      message_once(Once::alloc_alignment, cpu, [] {
        return std::string{"Alloc alignment may prevent fulfilling requests with max mapping_size"};
      });
    const std::uint64_t bytes = saturating_sum(mapping_size, result.offset);
    result.printed_bytes = bytes > swiotlb_segment_bytes ? bytes : align_up(bytes, alloc_align_mask + 1);
    result.request.bytes = result.printed_bytes;
  } else {
    if (mapping_size > alloc_size) {
      message_once(Once::sizes, cpu, [&] {
        return fmt::format("Invalid sizes (mapping: {} bytes, alloc: {} bytes)",
                           static_cast<std::int64_t>(mapping_size), static_cast<std::int64_t>(alloc_size));
      });
      return std::nullopt;
    }
    result.request.bytes = saturating_sum(alloc_size, result.offset);
  }
  if (well_formed(result.request)) return result;
  message(cpu, [] { return std::string{"kernel BUG at kernel/dma/swiotlb.c!"}; });
  return std::nullopt;
}

Result<PhysAddr, SwiotlbRefusal> Swiotlb::tbl_map_single(paging::Mmu& cpu, Device& dev, PhysAddr orig,
                                                         std::uint64_t mapping_size, std::uint64_t alloc_size,
                                                         std::uint64_t alloc_align_mask,
                                                         DmaDirection direction, DmaAttrs attrs) {
  Impl& impl = *impl_;
  CBIT_ASSERT(alloc_align_mask <= bit_mask(32));
  if (impl.encrypted)
    impl.message_once(Impl::Once::encryption, cpu, [] {
      return std::string{
          "software IO TLB: Memory encryption is active and system is using DMA bounce buffers"};
    });

  const auto measured = impl.measure(cpu, dev, orig, mapping_size, alloc_size, alloc_align_mask);
  if (!measured) return tl::unexpected{SwiotlbRefusal::invalid};
  const auto& [request, offset, printed] = *measured;
  const Impl::Allocation slots = impl.find_slots(cpu, dev, request);
  if (slots.outcome != Outcome::found) {
    impl.report_refusal(cpu, dev, request, slots, printed, attrs.has(dma_attr::no_warn));
    return tl::unexpected{SwiotlbRefusal::full};
  }
  const auto pad_slots = static_cast<std::uint16_t>(offset >> io_tlb_shift);
  slots.pool->set_original(slots.slot, slots.slots, pad_slots, orig);
  const PhysAddr bounce = slots.pool->address_of(slots.slot) + offset;
  cpu.memory().prefetchw(bounce, mapping_size);  // comes while the copy is prepared
  impl.tracer.emit(cpu.agent(),
                   SwiotlbAllocated{dev.name_id, slots.slot, slots.slots, slots.area, bounce, orig});
  impl.step(cpu, source_map, [&] {
    return fmt::format(
        "the original is copied in{}",
        to_device(direction) ? "" : ", though the device only writes: it may write only a part");
  });
  impl.counters(cpu).add_mapping();
  // Put together before the copy, so that returning it does not wait for the copy's stores.
  const Result<PhysAddr, SwiotlbRefusal> result{bounce};
  impl.bounce(cpu, dev, *slots.pool, bounce, mapping_size, true);
  return result;
}

bool Swiotlb::tbl_unmap_single(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t mapping_size,
                               DmaDirection direction, DmaAttrs attrs) {
  Impl& impl = *impl_;
  SwiotlbPool* const pool = impl.find_pool(dev, bounce);
  if (pool == nullptr) return false;
  const bool skip = attrs.has(dma_attr::skip_cpu_sync);
  impl.step(cpu, source_unmap, [&] {
    if (skip) return std::string{"DMA_ATTR_SKIP_CPU_SYNC here: the slots are released without another copy"};
    return fmt::format("{}: {}", to_string(direction),
                       from_device(direction) ? "copied back" : "nothing is copied back");
  });
  const bool copied =
      !skip && from_device(direction) && impl.bounce(cpu, dev, *pool, bounce, mapping_size, false);

  const std::uint64_t pool_slots = pool->slots();
  SwiotlbPool::Released released{0, pool_slots};
  if (!impl.delete_transient(cpu, dev, bounce)) released = pool->release(bounce, dev.min_align_mask);
  impl.tracer.emit(cpu.agent(), SwiotlbReleased{released.slot, released.slots});
  return copied;
}

bool Swiotlb::sync_single_for_device(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t bytes,
                                     DmaDirection direction) {
  SwiotlbPool* const pool = impl_->find_pool(dev, bounce);
  return pool != nullptr && to_device(direction) && impl_->bounce(cpu, dev, *pool, bounce, bytes, true);
}

bool Swiotlb::sync_single_for_cpu(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t bytes,
                                  DmaDirection direction) {
  SwiotlbPool* const pool = impl_->find_pool(dev, bounce);
  if (pool == nullptr || !from_device(direction)) return false;
  impl_->step(cpu, source_sync, [&] { return fmt::format("{} bytes are copied back from the pool", bytes); });
  return impl_->bounce(cpu, dev, *pool, bounce, bytes, false);
}

// What swiotlb_bounce() makes of a length; 0 where it copies nothing. `offset` is where the copy begins in
// the original of the slot. It is negative in the first bytes of a later slot, where the mapping does not
// begin at a slot's first byte: up to 6.6 that counts as a mistake. Sizes are size_t in the kernel, so that
// what is left beyond the mapping's end is no less than nothing but nearly 2^64 bytes, and is copied.
std::uint64_t Swiotlb::Impl::copyable(paging::Mmu& cpu, const SwiotlbPool::Slot& slot, PhysAddr at,
                                      std::int64_t offset, std::uint64_t bytes) {
  const auto size = static_cast<std::uint64_t>(std::int64_t{slot.bytes_left});
  const std::uint64_t left = size - static_cast<std::uint64_t>(offset);
  if (version < KernelVersion::v6_10 && offset < 0) {
    const auto in_slot = static_cast<std::int64_t>(at.value() & (io_tlb_size - 1));
    message_once(Once::before_start, cpu, [&] {
      return fmt::format("Access before mapping start detected. orig offset {}, requested offset {}.",
                         in_slot - offset, in_slot);
    });
    step(cpu, source_bounce, [&] {
      return fmt::format(
          "{:#x} lies in the first {} bytes of a slot, which 6.1 and 6.6 take for bytes before the "
          "mapping: nothing is copied",
          at.value(), in_slot - offset);
    });
    return 0;
  }
  if (version<KernelVersion::v6_10&& static_cast<std::uint64_t>(offset)> size) {
    message_once(Once::beyond_end, cpu, [&] {
      return fmt::format("Buffer overflow detected. Allocation size: {}. Mapping size: {}+{}.", size, bytes,
                         offset);
    });
    return 0;
  }
  if (bytes <= left) return bytes;
  message_once(Once::too_long, cpu, [&] {
    return fmt::format("Buffer overflow detected. Allocation size: {}. Mapping size: {}.", left, bytes);
  });
  return left;
}

// swiotlb_bounce(). Nothing happens for slots that are free.
bool Swiotlb::Impl::bounce(paging::Mmu& cpu, const Device& dev, SwiotlbPool& pool, PhysAddr at,
                           std::uint64_t bytes, bool to_pool) {
  const SwiotlbPool::Slot& slot = pool.slot(pool.slot_of(at));
  if (slot.orig == SwiotlbPool::no_address || bytes == 0) return false;
  const std::uint64_t in_slot = at.value() & (io_tlb_size - 1);
  const std::uint64_t orig_offset = slot.orig.value() & dev.min_align_mask & (io_tlb_size - 1);
  const auto offset = static_cast<std::int64_t>(in_slot - orig_offset);
  const PhysAddr orig = slot.orig + static_cast<std::uint64_t>(offset);
  const std::uint64_t copied = copyable(cpu, slot, at, offset, bytes);
  const VirtAddr pool_at = mm.phys_to_virt(at);
  // page_address() of the original: on MKTME the direct map of its KeyID.
  const VirtAddr orig_at = mm.phys_to_virt(orig, mm.page_key_id(orig));
  const paging::SiteScope site{cpu, bounce_site};
  if (copied == 0 || !(to_pool ? cpu.copy(pool_at, orig_at, copied) : cpu.copy(orig_at, pool_at, copied))) {
    tracer.emit(cpu.agent(), SwiotlbDropped{at, bytes, offset < 0});
    return false;
  }
  counters(cpu).add_copy(copied);
  tracer.emit(cpu.agent(), SwiotlbCopied{orig, at, copied, to_pool}, cost::cpu_copy_ns(copied));
  return true;
}

// ---- coherent memory of restricted pools ----------------------------------------------------------------

// From 6.6 on aligned to the order of the size; in 6.1 only the stride of the search is, which keeps no run
// from starting in mid-page. What is returned is the page that it starts in.
std::optional<PhysAddr> Swiotlb::alloc(paging::Mmu& cpu, Device& dev, std::uint64_t bytes) {
  Impl& impl = *impl_;
  SwiotlbPool::Request request{PhysAddr{}, bytes, 0, dev.min_align_mask, dev.seg_boundary()};
  if (!well_formed(request)) {
    impl.message(cpu, [] { return std::string{"kernel BUG at kernel/dma/swiotlb.c!"}; });
    return std::nullopt;
  }
  if (impl.version >= KernelVersion::v6_6)
    request.alloc_align_mask = std::bit_ceil(align_up(std::min(bytes, bit_mask(32)), page_size)) - 1;
  const Impl::Allocation slots = impl.find_slots(cpu, dev, request);
  if (slots.outcome != Outcome::found) {
    impl.report_refusal(cpu, dev, request, slots, bytes, true);
    return std::nullopt;
  }
  const PhysAddr at = slots.pool->address_of(slots.slot);
  impl.tracer.emit(cpu.agent(),
                   SwiotlbAllocated{dev.name_id, slots.slot, slots.slots, slots.area, at, PhysAddr{}});
  return at.page();
}

bool Swiotlb::free(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t) {
  SwiotlbPool* const pool = impl_->find_pool(dev, at);
  if (pool == nullptr) return false;
  const SwiotlbPool::Released released = pool->release(at, dev.min_align_mask);
  impl_->tracer.emit(cpu.agent(), SwiotlbReleased{released.slot, released.slots});
  return true;
}

// ---- observation ----------------------------------------------------------------------------------------

bool Swiotlb::contains(const Device& dev, PhysAddr at) const { return impl_->find_pool(dev, at) != nullptr; }

std::uint64_t Swiotlb::max_mapping_size(const Device& dev) {
  return swiotlb_segment_bytes - align_up(dev.min_align_mask, io_tlb_size);
}

SwiotlbUsage Swiotlb::usage() const {
  SwiotlbUsage usage{.io_tlb_nslabs = impl_->slots,
                     .io_tlb_used = impl_->used(),
                     .io_tlb_used_hiwater = impl_->used_hiwater(),
                     .io_tlb_transient_nslabs = impl_->transient_slots,
                     .areas = impl_->pools.front()->areas()};
  for (const Impl::Counters& counters : impl_->cpu_counters) {
    usage.bytes_bounced += counters.bytes.load(std::memory_order_relaxed);
    usage.bounces += counters.mappings.load(std::memory_order_relaxed);
  }
  return usage;
}

}  // namespace cbit::kernel
