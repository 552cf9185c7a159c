// Bounce buffers: kernel/dma/swiotlb.c.
#include <algorithm>

#include "linux/bounce_pool.hpp"
#include "linux/probes/context.hpp"

namespace cbit::linux {
namespace {

constexpr std::uint64_t in_slot = spec::io_tlb_size - 1;
constexpr std::uint64_t no_address = ~std::uint64_t{0};  // INVALID_PHYS_ADDR, DMA_MAPPING_ERROR

// ---- mapping ---------------------------------------------------------------------------------------------

// dev, orig_addr, mapping_size, alloc_align_mask, dir, attrs, alloc_size?
struct BounceAsk {
  PhysAddr orig;
  std::uint64_t mapping_size = 0;
  std::uint64_t align_mask = 0;
  std::uint64_t offset = 0;  // of the buffer in its first slot
  std::uint64_t bytes = 0;   // as the kernel prints them
  std::uint64_t slots = 0;
};

// What swiotlb_tbl_map_single() makes of its sizes. Up to 6.6 the caller says how much is allocated; since
// 6.10 the function computes it, and the offset may exceed a slot.
BounceAsk ask_of(const CallView& c, const Device& device, bool pads) {
  BounceAsk ask{.orig = PhysAddr{c.argument(1)},
                .mapping_size = c.argument(2),
                .align_mask = static_cast<std::uint32_t>(c.argument(3))};
  const std::uint64_t bits = ask.orig.value() & device.min_align_mask;
  if (pads) {
    ask.offset = bits & (ask.align_mask | in_slot);
    ask.bytes = align_up(ask.mapping_size + ask.offset, ask.align_mask + 1);
    ask.slots = spec::nr_slots(ask.bytes);
  } else {
    ask.offset = bits & in_slot;
    ask.bytes = c.has(6) ? c.argument(6) : ask.mapping_size;
    ask.slots = spec::nr_slots(ask.bytes + ask.offset);
  }
  return ask;
}

// include/trace/events/swiotlb.h shows the buffer's address, as dma-direct would have given it.
void report_bounce(ProbeContext& ctx, const CallView& c, const Device& device, const BounceAsk& ask) {
  const std::uint64_t bit = device.iommu ? 0 : ctx.encryption_mask(c);
  const bool force = device.tlb && ctx.peek(c).value(*device.tlb, Field::tlb_force_bounce).value_or(0) != 0;
  ctx.emit(c, SwiotlbBounced{.device = ctx.name_of(device.name),
                             .dma_mask = device.dma_mask.value_or(0),
                             .dev_addr = DmaAddr{ask.orig.value() | bit},
                             .size = ask.mapping_size,
                             .force = force});
}

void report_full(ProbeContext& ctx, const CallView& c, const Device& device, const BounceAsk& ask,
                 const BouncePool& pool, bool endless = false) {
  const Peek peek = ctx.peek(c);
  const BouncePool::Usage usage = pool.usage(peek);
  ctx.emit(c, SwiotlbFull{.device = ctx.name_of(device.name),
                          .bytes = ask.bytes,
                          .slots_wanted = ask.slots,
                          .segment_slots = spec::io_tlb_segsize,
                          .slots_total = pool.slots(),
                          .slots_used = usage.used,
                          .longest_run = usage.longest_run,
                          .align_mask = ask.align_mask | device.min_align_mask,
                          .growth_possible = peek.value(*device.tlb, Field::tlb_can_grow).value_or(0) != 0,
                          .endless_search = endless});
}

void map(ProbeContext& ctx, CallView& c) {
  const Peek peek = ctx.peek(c);
  const Device device = ctx.device(c, c.pointer(0));
  const BounceAsk ask = ask_of(c, device, pads_slots(peek.fields()));
  const std::uint64_t count = device.tlb ? peek.value(*device.tlb, Field::tlb_slots_count).value_or(0) : 0;
  const auto pool = count != 0 ? BouncePool::of_memory(peek, *device.tlb) : std::nullopt;
  if (pool) ctx.note_pool(*pool);
  report_bounce(ctx, c, device, ask);
  if (c.result() == no_address) {
    c.for_each_outside([&](Notes& outer) { (count != 0 ? outer.pool_full : outer.no_pool) = true; });
    if (pool) report_full(ctx, c, device, ask, *pool);
    return;
  }
  const PhysAddr bounce{c.result()};
  c.for_each_outside([](Notes& outer) { outer.bounced = true; });
  if (pool && pool->contains(bounce)) {
    const std::uint64_t slot = pool->slot_of(bounce - std::min(ask.offset, bounce - pool->start()));
    ctx.emit(c, SwiotlbAllocated{ctx.name_of(device.name), slot, ask.slots, pool->area_of(slot), bounce,
                                 ask.orig});
  }
  for (EventPayload& copy : c.notes().held) ctx.emit(c, std::move(copy));
}

// ---- releasing -------------------------------------------------------------------------------------------

// The pool that an address belongs to: since 6.10 the caller says it.
std::optional<BouncePool> pool_of(ProbeContext& ctx, const CallView& c, std::size_t parameter) {
  if (c.has(parameter)) return BouncePool::at(ctx.peek(c), c.pointer(parameter));
  const auto memory = ctx.peek(c).pointer(c.pointer(0), Field::device_io_tlb_mem);
  return memory ? BouncePool::of_memory(ctx.peek(c), *memory) : std::nullopt;
}

std::uint64_t min_align_mask(ProbeContext& ctx, const CallView& c) {
  const auto parms = ctx.peek(c).pointer(c.pointer(0), Field::device_dma_parms);
  return parms ? ctx.peek(c).value(*parms, Field::parms_min_align_mask).value_or(0) : 0;
}

// dev, tlb_addr, pool?: the slots say how many they are only until they are released.
bool enter_unmap(ProbeContext& ctx, CallView& c) {
  const PhysAddr at{c.argument(1)};
  const auto pool = pool_of(ctx, c, 2);
  if (!pool || !pool->contains(at)) return true;
  const std::uint64_t offset = at.value() & min_align_mask(ctx, c) & in_slot;
  std::uint64_t first = pool->slot_of(at - std::min(offset, at - pool->start()));
  if (const auto slot = pool->slot(ctx.peek(c), first)) first -= std::min(slot->pad_slots, first);
  const auto slot = pool->slot(ctx.peek(c), first);
  if (!slot) return true;
  const std::uint64_t count = std::min(spec::nr_slots(slot->alloc_size + offset), spec::io_tlb_segsize);
  c.notes().held.emplace_back(SwiotlbReleased{first, count});
  return true;
}

void unmap(ProbeContext& ctx, CallView& c) {
  c.for_each_outside([](Notes& outer) { outer.released = true; });
  for (EventPayload& released : c.notes().held) ctx.emit(c, std::move(released));
}

// ---- copying ---------------------------------------------------------------------------------------------

// dev, tlb_addr, size, dir, mem?
bool enter_copy(ProbeContext& ctx, CallView& c) {
  const PhysAddr bounce{c.argument(1)};
  const std::uint64_t bytes = c.argument(2);
  const auto pool = pool_of(ctx, c, 4);
  const auto slot =
      pool && pool->contains(bounce) ? pool->slot(ctx.peek(c), pool->slot_of(bounce)) : std::nullopt;
  if (!slot || slot->orig == no_address) return false;
  const std::uint64_t orig_offset = slot->orig & min_align_mask(ctx, c) & in_slot;
  const auto offset = static_cast<std::int64_t>((bounce.value() & in_slot) - orig_offset);
  const auto left = static_cast<std::int64_t>(slot->alloc_size) - offset;
  // Up to 6.6 a copy that begins in front of the slot's buffer is taken for a mistake, as is one behind it.
  const bool refused = !pads_slots(ctx.peek(c).fields()) && (offset < 0 || left < 0);
  const std::uint64_t copied = std::min(bytes, static_cast<std::uint64_t>(std::max<std::int64_t>(left, 0)));
  if (refused || copied == 0) {
    c.notes().held.emplace_back(SwiotlbDropped{bounce, bytes, offset < 0});
    return true;
  }
  const PhysAddr orig{slot->orig + static_cast<std::uint64_t>(offset)};
  c.notes().held.emplace_back(SwiotlbCopied{orig, bounce, copied, c.direction(3) == DmaDirection::to_device});
  return true;
}

// A copy into a new bounce buffer follows its allocation, which has not returned yet.
void copy(ProbeContext& ctx, CallView& c) {
  EventPayload& event = c.notes().held.front();
  if (const auto* const copied = std::get_if<SwiotlbCopied>(&event))
    c.for_each_outside([&](Notes& outer) {
      (copied->to_pool ? outer.copied_in : outer.copied_back).push_back(copied->bounce);
    });
  Notes* const caller = c.outside().empty() ? nullptr : static_cast<Notes*>(c.outside().back().notes.get());
  if (caller != nullptr && caller->row->returned == map)
    caller->held.push_back(std::move(event));
  else
    ctx.emit(c, std::move(event));
}

void pool_ready(ProbeContext& ctx, CallView& c) {
  const auto memory = ctx.running().address_of("io_tlb_default_mem");
  const auto pool = memory ? BouncePool::of_memory(ctx.peek(c), *memory) : std::nullopt;
  if (pool) ctx.note_pool(*pool);
}

constexpr ProbeRow rows[] = {
    {"swiotlb_tbl_map_single", "dev orig_addr mapping_size alloc_align_mask dir attrs alloc_size?", "",
     nullptr, map},
    {"swiotlb_tbl_unmap_single", "dev tlb_addr", "__swiotlb_tbl_unmap_single", enter_unmap, unmap},
    {"__swiotlb_tbl_unmap_single", "dev tlb_addr pool?", "", enter_unmap, unmap},
    {"swiotlb_bounce", "dev tlb_addr size dir mem?", "", enter_copy, copy},
    {"swiotlb_update_mem_attributes", "", "", nullptr, pool_ready},
};

}  // namespace

bool is_bounce_map(const ProbeRow& row) { return row.returned == map; }

void report_endless_search(ProbeContext& ctx, const CallView& c) {
  const Device device = ctx.device(c, c.pointer(0));
  const auto pool = device.tlb ? BouncePool::of_memory(ctx.peek(c), *device.tlb) : std::nullopt;
  if (pool) report_full(ctx, c, device, ask_of(c, device, pads_slots(ctx.peek(c).fields())), *pool, true);
}

std::span<const ProbeRow> swiotlb_rows() { return rows; }

}  // namespace cbit::linux
