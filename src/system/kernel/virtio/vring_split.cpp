#include "kernel/virtio/vring_split.hpp"

#include <utility>

#include "base/format.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t legacy_align = 4096;  // VIRTIO_PCI_VRING_ALIGN
constexpr std::uint64_t modern_align = 64;    // SMP_CACHE_BYTES

}  // namespace

SplitVring::SplitVring(VirtioBinding& binding, std::uint16_t index, std::string name)
    : Vring{binding, index, std::move(name), "split"},
      align_{binding.legacy() ? legacy_align : modern_align} {}

// vring_alloc_queue_split.
Result<void, Errno> SplitVring::allocate(paging::Mmu& cpu, std::uint32_t size) {
  for (size_ = size;; size_ /= 2) {
    const std::uint64_t bytes = areas().bytes(align_);
    if (const auto area = allocate_area(cpu, bytes)) {
      ring_ = *area;
      break;
    }
    if (binding().legacy() || bytes <= page_size || size_ == 1) return tl::unexpected{Errno::enomem};
  }
  slots_.resize(size_);
  for (std::uint32_t i = 0; i + 1 < size_; ++i) slots_[i].desc.next = static_cast<std::uint16_t>(i + 1);
  num_free_ = size_;
  return {};
}

dev::VirtQueueConfig SplitVring::config() const {
  return {size_, ring_.dma, ring_.dma + areas().avail_offset(), ring_.dma + areas().used_offset(align_)};
}

SplitVring::~SplitVring() {
  if (slots_.empty()) return;
  paging::Mmu& cpu = binding().kernel().cpu(0);
  while (detach_unused(cpu)) {
  }
  free_area(cpu, ring_);
}

// ---- adding ----

Result<void, Errno> SplitVring::add_to_ring(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                            std::span<const VringBuffer> in, Token token) {
  const std::size_t total = out.size() + in.size();
  // virtqueue_use_indirect; without memory for a table the ring itself is used.
  std::optional<IndirectTable> table;
  if (indirect() && total > 1 && num_free_ != 0) table = allocate_table(total);
  if (num_free_ < (table ? 1 : total)) {
    if (table) free_table(*table);
    if (!out.empty()) notify();
    return tl::unexpected{Errno::enospc};
  }

  const auto descs = map_all(cpu, out, in);
  const auto added = descs ? submit(cpu, *descs, table, token) : tl::unexpected{descs.error()};
  if (added) return {};
  if (descs) unmap_all(cpu, *descs);
  if (table) free_table(*table);
  return added;
}

Result<void, Errno> SplitVring::submit(paging::Mmu& cpu, const std::vector<spec::VringDesc>& descs,
                                       std::optional<IndirectTable>& table, Token token) {
  const std::uint16_t head = free_head_;
  if (table) {
    table->entries = descs;
    for (std::size_t i = 0; i < descs.size(); ++i) table->entries[i].next = static_cast<std::uint16_t>(i + 1);
    const spec::VringDesc desc = CBIT_TRY(map_table(cpu, *table, std::as_bytes(std::span{table->entries})));
    place(cpu, {&desc, 1});
  } else {
    place(cpu, descs);
  }
  slots_[head].token = token;
  slots_[head].table = std::exchange(table, std::nullopt);
  expose(cpu, head);
  return {};
}

void SplitVring::place(paging::Mmu& cpu, std::span<const spec::VringDesc> descs) {
  for (spec::VringDesc desc : descs) {
    const std::uint16_t slot = free_head_;
    desc.next = slots_[slot].desc.next;
    slots_[slot].desc = desc;
    write(cpu, ring_.cpu + spec::VringAreas::desc(slot), desc);
    free_head_ = desc.next;
  }
  num_free_ -= static_cast<std::uint32_t>(descs.size());
}

// The entry first, then the index that makes it visible.
void SplitVring::expose(paging::Mmu& cpu, std::uint16_t head) {
  write(cpu, avail() + spec::VringAreas::avail_ring(wrap(avail_index_)), head);
  ++avail_index_;
  write(cpu, avail() + spec::VringAreas::idx, avail_index_);
  ++num_added_;
}

// ---- notification ----

// virtqueue_kick_prepare_split.
bool SplitVring::kick_needed(paging::Mmu& cpu) {
  const auto before = static_cast<std::uint16_t>(avail_index_ - std::exchange(num_added_, std::uint16_t{0}));
  if (event_idx()) {
    const auto event = read<std::uint16_t>(cpu, used() + areas().avail_event());
    return spec::vring_need_event(event, avail_index_, before);
  }
  return (read<std::uint16_t>(cpu, used() + spec::VringAreas::flags) & spec::vring_flag::used_no_notify) == 0;
}

// virtqueue_disable_cb_split. With event indices an event that has just been raised will not be raised again.
void SplitVring::disable_interrupts(paging::Mmu& cpu) {
  if ((avail_flags_ & spec::vring_flag::avail_no_interrupt) != 0) return;
  avail_flags_ |= spec::vring_flag::avail_no_interrupt;
  if (event_triggered_) return;
  if (event_idx())
    write(cpu, avail() + areas().used_event(), std::uint16_t{0});
  else
    write(cpu, avail() + spec::VringAreas::flags, avail_flags_);
}

// virtqueue_enable_cb_prepare_split and virtqueue_poll.
bool SplitVring::enable_interrupts(paging::Mmu& cpu) {
  event_triggered_ = false;
  if ((avail_flags_ & spec::vring_flag::avail_no_interrupt) != 0) {
    avail_flags_ = 0;
    if (!event_idx()) write(cpu, avail() + spec::VringAreas::flags, avail_flags_);
  }
  write(cpu, avail() + areas().used_event(), last_used_);
  return broken_ || !more_used(cpu);
}

bool SplitVring::more_used(paging::Mmu& cpu) {
  return read<std::uint16_t>(cpu, used() + spec::VringAreas::idx) != last_used_;
}

// ---- getting back ----

std::optional<Vring::Used> SplitVring::take_used(paging::Mmu& cpu) {
  const auto entry = read<spec::VringUsedElem>(cpu, used() + spec::VringAreas::used_ring(wrap(last_used_)));
  if (entry.id >= size_) return bad_ring(fmt::format("id {} out of range", entry.id));
  const auto head = static_cast<std::uint16_t>(entry.id);
  if (!slots_[head].token) return bad_ring(fmt::format("id {} is not a head!", entry.id));
  const Used result{*slots_[head].token, entry.len};
  detach(cpu, head);
  ++last_used_;
  if ((avail_flags_ & spec::vring_flag::avail_no_interrupt) == 0)
    write(cpu, avail() + areas().used_event(), last_used_);
  return result;
}

// detach_buf_split: unmaps (this copies back from bounce buffers) and returns the descriptors to the free
// list.
void SplitVring::detach(paging::Mmu& cpu, std::uint16_t head) {
  slots_[head].token.reset();
  std::uint16_t last = head;
  for (;;) {
    unmap(cpu, slots_[last].desc);
    ++num_free_;
    if ((slots_[last].desc.flags & spec::vring_flag::next) == 0) break;
    last = slots_[last].desc.next;
  }
  slots_[last].desc.next = free_head_;
  free_head_ = head;

  if (const auto table = std::exchange(slots_[head].table, std::nullopt)) {
    unmap_all(cpu, table->entries);
    free_table(*table);
  }
}

std::optional<Vring::Token> SplitVring::detach_unused(paging::Mmu& cpu) {
  for (std::uint16_t head = 0; head < slots_.size(); ++head) {
    const auto token = slots_[head].token;
    if (!token) continue;
    detach(cpu, head);
    --avail_index_;
    write(cpu, avail() + spec::VringAreas::idx, avail_index_);
    return token;
  }
  CBIT_ASSERT(num_free_ == size_);
  return std::nullopt;
}

}  // namespace cbit::kernel
