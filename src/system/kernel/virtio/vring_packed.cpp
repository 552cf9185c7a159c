#include "kernel/virtio/vring_packed.hpp"

#include <utility>

#include "base/format.hpp"

namespace cbit::kernel {
namespace {

// Flags that make a descriptor at this place available.
std::uint16_t available_at(const spec::PackedPlace& place) {
  return place.wrap ? spec::packed_flag::avail : spec::packed_flag::used;
}

// Flags of a descriptor that was used there in the round before, as the place has them until it is filled.
std::uint16_t used_before(const spec::PackedPlace& place) {
  return static_cast<std::uint16_t>(place.wrap ? 0 : spec::packed_flag::avail | spec::packed_flag::used);
}

Bytes encode_table(std::span<const spec::VringDesc> entries) {
  Bytes contents;
  contents.reserve(entries.size() * sizeof(spec::PackedDesc));
  for (const spec::VringDesc& entry : entries) {
    const spec::PackedDesc desc{entry.addr, entry.len, 0,
                                static_cast<std::uint16_t>(entry.flags & spec::vring_flag::write)};
    const auto raw = bytes_of(desc);
    contents.insert(contents.end(), raw.begin(), raw.end());
  }
  return contents;
}

}  // namespace

// vring_alloc_queue_packed.
Result<void, Errno> PackedVring::allocate(paging::Mmu& cpu, std::uint32_t size) {
  const auto areas = {std::pair{&ring_, spec::VringAreas::desc(size)},
                      std::pair{&driver_event_, std::uint64_t{sizeof(spec::PackedEvent)}},
                      std::pair{&device_event_, std::uint64_t{sizeof(spec::PackedEvent)}}};
  for (const auto& [area, bytes] : areas) {
    const auto allocated = allocate_area(cpu, bytes);
    if (!allocated) return tl::unexpected{Errno::enomem};
    *area = *allocated;
  }
  size_ = num_free_ = size;
  entries_.resize(size);
  for (std::uint32_t i = 0; i + 1 < size; ++i) entries_[i].desc.next = static_cast<std::uint16_t>(i + 1);
  return {};
}

dev::VirtQueueConfig PackedVring::config() const {
  return {size_, ring_.dma, driver_event_.dma, device_event_.dma};
}

PackedVring::~PackedVring() {
  paging::Mmu& cpu = binding().kernel().cpu(0);
  while (detach_unused(cpu)) {
  }
  for (const CoherentBuffer* const area : {&ring_, &driver_event_, &device_event_}) free_area(cpu, *area);
}

// ---- adding ----

// Without memory for a table, or for mapping it, the ring itself is used.
Result<void, Errno> PackedVring::add_to_ring(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                             std::span<const VringBuffer> in, Token token) {
  const std::size_t total = out.size() + in.size();
  if (indirect() && total > 1 && num_free_ != 0) {
    const auto added = add_indirect(cpu, out, in, token);
    if (added || added.error() != Errno::enomem) return added;
  }
  if (num_free_ < total) return tl::unexpected{Errno::enospc};
  const auto descs = map_all(cpu, out, in);
  if (!descs) return tl::unexpected{Errno::eio};
  place(cpu, *descs, std::nullopt, token);
  return {};
}

Result<void, Errno> PackedVring::add_indirect(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                              std::span<const VringBuffer> in, Token token) {
  auto table = allocate_table(out.size() + in.size());
  if (!table) return tl::unexpected{Errno::enomem};
  auto descs = map_all(cpu, out, in);
  if (!descs) {
    free_table(*table);
    return tl::unexpected{descs.error()};
  }
  table->entries = std::move(*descs);
  const auto desc = map_table(cpu, *table, encode_table(table->entries));
  if (desc) {
    place(cpu, {&*desc, 1}, std::move(table), token);
    return {};
  }
  unmap_all(cpu, table->entries);
  free_table(*table);
  return tl::unexpected{desc.error()};
}

// The flags of the first descriptor come last: with them the device sees the list.
void PackedVring::place(paging::Mmu& cpu, std::span<const spec::VringDesc> descs,
                        std::optional<IndirectTable> table, Token token) {
  const std::uint16_t id = free_head_;
  const spec::PackedPlace head = next_avail_;
  for (const spec::VringDesc& desc : descs) {
    Entry& entry = entries_[free_head_];
    const std::uint16_t next = entry.desc.next;
    entry.desc = desc;
    entry.desc.next = next;
    entries_[id].last = free_head_;
    const bool is_head = next_avail_.index == head.index;
    const auto flags = is_head ? used_before(head) : (desc.flags | available_at(next_avail_));
    write(cpu, slot(next_avail_.index),
          spec::PackedDesc{desc.addr, desc.len, id, static_cast<std::uint16_t>(flags)});
    next_avail_.advance(1, size_);
    free_head_ = next;
  }
  const auto flags = static_cast<std::uint16_t>(descs.front().flags | available_at(head));
  write(cpu, slot(head.index) + offsetof(spec::PackedDesc, flags), flags);

  entries_[id].descriptors = static_cast<std::uint16_t>(descs.size());
  entries_[id].token = token;
  entries_[id].table = std::move(table);
  num_free_ -= static_cast<std::uint32_t>(descs.size());
  num_added_ += static_cast<std::uint32_t>(descs.size());
}

// ---- notification ----

// virtqueue_kick_prepare_packed.
bool PackedVring::kick_needed(paging::Mmu& cpu) {
  const std::uint32_t added = std::exchange(num_added_, 0);
  const auto event = read<spec::PackedEvent>(cpu, device_event_.cpu);
  if (event.flags != spec::packed_event::desc) return event.flags != spec::packed_event::disable;
  return spec::packed_need_event(event, next_avail_, added, size_);
}

void PackedVring::write_event_flags(paging::Mmu& cpu) {
  write(cpu, driver_event_.cpu + offsetof(spec::PackedEvent, flags), event_flags_);
}

// virtqueue_disable_cb_packed. An event that has just been raised will not be raised again.
void PackedVring::disable_interrupts(paging::Mmu& cpu) {
  if (event_flags_ == spec::packed_event::disable) return;
  event_flags_ = spec::packed_event::disable;
  if (!event_triggered_) write_event_flags(cpu);
}

// virtqueue_enable_cb_prepare_packed and virtqueue_poll_packed.
bool PackedVring::enable_interrupts(paging::Mmu& cpu) {
  event_triggered_ = false;
  if (event_idx()) write(cpu, driver_event_.cpu, last_used_.off_wrap());
  if (event_flags_ == spec::packed_event::disable) {
    event_flags_ = event_idx() ? spec::packed_event::desc : spec::packed_event::enable;
    write_event_flags(cpu);
  }
  return broken_ || !more_used(cpu);
}

// is_used_desc_packed.
bool PackedVring::more_used(paging::Mmu& cpu) {
  const auto flags = read<std::uint16_t>(cpu, slot(last_used_.index) + offsetof(spec::PackedDesc, flags));
  const bool avail = (flags & spec::packed_flag::avail) != 0;
  const bool used = (flags & spec::packed_flag::used) != 0;
  return avail == used && used == last_used_.wrap;
}

// ---- getting back ----

std::optional<Vring::Used> PackedVring::take_used(paging::Mmu& cpu) {
  const auto desc = read<spec::PackedDesc>(cpu, slot(last_used_.index));
  if (desc.id >= size_) return bad_ring(fmt::format("id {} out of range", desc.id));
  const Entry& entry = entries_[desc.id];
  if (!entry.token) return bad_ring(fmt::format("id {} is not a head!", desc.id));
  const Used result{*entry.token, desc.len};
  detach(cpu, desc.id);
  last_used_.advance(entry.descriptors, size_);
  if (event_flags_ == spec::packed_event::desc) write(cpu, driver_event_.cpu, last_used_.off_wrap());
  return result;
}

// detach_buf_packed: unmaps (this copies back from bounce buffers) and returns the entries to the free list.
void PackedVring::detach(paging::Mmu& cpu, std::uint16_t id) {
  Entry& first = entries_[id];
  first.token.reset();
  entries_[first.last].desc.next = std::exchange(free_head_, id);
  num_free_ += first.descriptors;
  std::uint16_t at = id;
  for (std::uint16_t i = 0; i < first.descriptors; ++i, at = entries_[at].desc.next)
    unmap(cpu, entries_[at].desc);
  if (const auto table = std::exchange(first.table, std::nullopt)) {
    unmap_all(cpu, table->entries);
    free_table(*table);
  }
}

std::optional<Vring::Token> PackedVring::detach_unused(paging::Mmu& cpu) {
  for (std::uint16_t id = 0; id < entries_.size(); ++id) {
    const auto token = entries_[id].token;
    if (!token) continue;
    detach(cpu, id);
    return token;
  }
  CBIT_ASSERT(num_free_ == size_);
  return std::nullopt;
}

}  // namespace cbit::kernel
