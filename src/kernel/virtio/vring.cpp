#include "kernel/virtio/vring.hpp"

#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t legacy_align = 4096;  // VIRTIO_PCI_VRING_ALIGN
constexpr std::uint64_t modern_align = 64;    // SMP_CACHE_BYTES

DmaDirection direction_of(const VringDesc& desc) {
  return (desc.flags & vring_flag::write) != 0 ? DmaDirection::from_device : DmaDirection::to_device;
}

}  // namespace

Vring::Vring(VirtioBinding& binding, std::uint16_t index, std::string name)
    : binding_{&binding},
      index_{index},
      name_{std::move(name)},
      align_{binding.legacy() ? legacy_align : modern_align},
      use_dma_api_{binding.use_dma_api()},
      indirect_{binding.has(virtio_feature::indirect_desc)},
      event_{binding.has(virtio_feature::event_idx)} {
  Tracer& tracer = binding.kernel().machine().tracer();
  add_site_ = tracer.intern("virtqueue_add_split");
  get_site_ = tracer.intern("virtqueue_get_buf_ctx_split");
}

Result<std::unique_ptr<Vring>, Errno> Vring::create(Mmu& cpu, VirtioBinding& binding, std::uint16_t index,
                                                    std::string name) {
  VirtioDevice& hardware = binding.hardware();
  const std::uint16_t size = hardware.queue_size_max(index);
  if (size == 0 || hardware.queue_enabled(index)) return tl::unexpected{Errno::enoent};
  if (!std::has_single_bit(size)) {
    binding.print(fmt::format("bad queue size {}", size));
    return tl::unexpected{Errno::einval};
  }

  std::unique_ptr<Vring> ring{new Vring{binding, index, std::move(name)}};
  constexpr std::string_view source = "drivers/virtio/virtio_ring.c: vring_use_dma_api";
  binding.step(ring->use_dma_api_
                   ? "ACCESS_PLATFORM was negotiated: ring and buffers go through the DMA API"
                   : "no ACCESS_PLATFORM: the device gets guest-physical addresses of ordinary pages",
               source);
  if (binding.options().raw_addresses)
    binding.step("experiment: buffers get physical addresses, not dma_map_page",
                 "drivers/virtio: a faulty driver");
  CBIT_TRY(ring->allocate(cpu, size));

  const DmaAddr base = ring->ring_.dma;
  hardware.enable_queue(index, {ring->areas_.size, base, base + ring->areas_.avail_offset(),
                                base + ring->areas_.used_offset(ring->align_)});
  return ring;
}

// vring_alloc_queue_split.
Result<void, Errno> Vring::allocate(Mmu& cpu, std::uint32_t size) {
  const bool may_reduce = !binding_->legacy();
  areas_.size = size;
  while (!allocate_ring(cpu)) {
    if (!may_reduce || areas_.bytes(align_) <= page_size || areas_.size == 1)
      return tl::unexpected{Errno::enomem};
    areas_.size /= 2;
  }
  slots_.resize(areas_.size);
  for (std::uint32_t i = 0; i + 1 < areas_.size; ++i) slots_[i].desc.next = static_cast<std::uint16_t>(i + 1);
  num_free_ = areas_.size;
  return {};
}

// vring_alloc_queue.
bool Vring::allocate_ring(Mmu& cpu) {
  const std::uint64_t bytes = areas_.bytes(align_);
  if (use_dma_api_) {
    const auto buffer = dma().alloc(cpu, binding_->parent(), bytes);
    if (buffer) ring_ = *buffer;
    return buffer.has_value();
  }
  const std::uint64_t whole = align_up(bytes, page_size);
  const auto pages = mm().alloc_pages(whole / page_size);
  if (!pages) return false;
  SiteScope scope{cpu, binding_->kernel().machine().tracer().intern("vring_alloc_queue")};
  if (!cpu.fill(*pages, whole, std::byte{0})) broken_ = true;
  ring_ = {*pages, DmaAddr{mm().virt_to_phys(*pages).value()}, bytes};
  return true;
}

Vring::~Vring() {
  if (slots_.empty()) return;
  Mmu& cpu = binding_->kernel().cpu(0);
  while (detach_unused(cpu)) {
  }
  if (use_dma_api_)
    dma().free(cpu, binding_->parent(), ring_);
  else
    mm().free_pages(ring_.cpu, align_up(ring_.bytes, page_size) / page_size);
}

template <class T>
T Vring::read(Mmu& cpu, VirtAddr at) {
  const auto value = cpu.load<T>(at);
  if (!value) broken_ = true;
  return value.value_or(T{});
}

template <class T>
void Vring::write(Mmu& cpu, VirtAddr at, const T& value) {
  if (!cpu.store(at, value)) broken_ = true;
}

// ---- adding ----

Result<void, Errno> Vring::add(Mmu& cpu, std::span<const VringBuffer> out, std::span<const VringBuffer> in,
                               Token token) {
  if (broken_) return tl::unexpected{Errno::eio};
  const std::size_t total = out.size() + in.size();
  CBIT_ASSERT(total != 0);
  SiteScope scope{cpu, add_site_};

  // virtqueue_use_indirect; without memory for a table the ring itself is used.
  std::optional<IndirectTable> table;
  if (indirect_ && total > 1 && num_free_ != 0) table = allocate_table(total);
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

std::optional<Vring::IndirectTable> Vring::allocate_table(std::size_t entries) {
  const std::uint64_t pages = align_up(entries * sizeof(VringDesc), page_size) / page_size;
  const auto at = mm().alloc_pages(pages);
  if (!at) return std::nullopt;
  return IndirectTable{*at, pages, {}};
}

Result<std::vector<VringDesc>, Errno> Vring::map_all(Mmu& cpu, std::span<const VringBuffer> out,
                                                     std::span<const VringBuffer> in) {
  std::vector<VringDesc> descs;
  descs.reserve(out.size() + in.size());
  for (std::size_t i = 0; i < out.size() + in.size(); ++i) {
    const bool writes = i >= out.size();
    const auto desc = map_one(cpu, writes ? in[i - out.size()] : out[i],
                              writes ? DmaDirection::from_device : DmaDirection::to_device);
    if (!desc) {
      unmap_all(cpu, descs);
      return tl::unexpected{desc.error()};
    }
    descs.push_back(*desc);
  }
  descs.back().flags = static_cast<std::uint16_t>(descs.back().flags & ~vring_flag::next);
  return descs;
}

// vring_map_one_sg.
Result<VringDesc, Errno> Vring::map_one(Mmu& cpu, const VringBuffer& buffer, DmaDirection direction) {
  VringDesc desc{buffer.phys.value(), buffer.length, vring_flag::next, 0};
  if (direction == DmaDirection::from_device) desc.flags = vring_flag::next | vring_flag::write;
  if (!use_dma_api_ || binding_->options().raw_addresses) return desc;

  Device& parent = binding_->parent();
  const DmaAddr dma_addr = dma().map_page(cpu, parent, buffer.phys, buffer.length, direction);
  if (dma().mapping_error(parent, dma_addr)) return tl::unexpected{Errno::enomem};
  desc.addr = dma_addr.value();
  return desc;
}

// The finished table is mapped like data: the device reads it as it was at this moment.
Result<VringDesc, Errno> Vring::map_table(Mmu& cpu, IndirectTable& table) {
  for (std::size_t i = 0; i < table.entries.size(); ++i)
    table.entries[i].next = static_cast<std::uint16_t>(i + 1);
  const auto contents = std::as_bytes(std::span{table.entries});
  if (!cpu.write(table.at, contents)) broken_ = true;

  const auto bytes = static_cast<std::uint32_t>(contents.size());
  if (!use_dma_api_) return VringDesc{mm().virt_to_phys(table.at).value(), bytes, vring_flag::indirect, 0};
  Device& parent = binding_->parent();
  const DmaAddr dma_addr = dma().map_single(cpu, parent, table.at, bytes, DmaDirection::to_device);
  if (dma().mapping_error(parent, dma_addr)) return tl::unexpected{Errno::enomem};
  return VringDesc{dma_addr.value(), bytes, vring_flag::indirect, 0};
}

void Vring::unmap(Mmu& cpu, const VringDesc& desc) {
  if (!use_dma_api_) return;
  Device& parent = binding_->parent();
  if ((desc.flags & vring_flag::indirect) != 0)
    dma().unmap_single(cpu, parent, DmaAddr{desc.addr}, desc.len, direction_of(desc));
  else if (!binding_->options().raw_addresses)
    dma().unmap_page(cpu, parent, DmaAddr{desc.addr}, desc.len, direction_of(desc));
}

void Vring::unmap_all(Mmu& cpu, std::span<const VringDesc> descs) {
  for (const VringDesc& desc : descs) unmap(cpu, desc);
}

Result<void, Errno> Vring::submit(Mmu& cpu, const std::vector<VringDesc>& descs,
                                  std::optional<IndirectTable>& table, Token token) {
  const std::uint16_t head = free_head_;
  if (table) {
    table->entries = descs;
    const VringDesc desc = CBIT_TRY(map_table(cpu, *table));
    place(cpu, {&desc, 1});
  } else {
    place(cpu, descs);
  }
  slots_[head].token = token;
  slots_[head].table = std::exchange(table, std::nullopt);
  expose(cpu, head);
  return {};
}

void Vring::place(Mmu& cpu, std::span<const VringDesc> descs) {
  for (VringDesc desc : descs) {
    const std::uint16_t slot = free_head_;
    desc.next = slots_[slot].desc.next;
    slots_[slot].desc = desc;
    write(cpu, ring_.cpu + VringAreas::desc(slot), desc);
    free_head_ = desc.next;
  }
  num_free_ -= static_cast<std::uint32_t>(descs.size());
}

// The entry first, then the index that makes it visible.
void Vring::expose(Mmu& cpu, std::uint16_t head) {
  write(cpu, avail() + VringAreas::avail_ring(wrap(avail_index_)), head);
  ++avail_index_;
  write(cpu, avail() + VringAreas::idx, avail_index_);
  ++num_added_;
}

// ---- notification ----

bool Vring::kick(Mmu& cpu) { return kick_needed(cpu) ? notify() : !broken_; }

// virtqueue_kick_prepare_split.
bool Vring::kick_needed(Mmu& cpu) {
  const auto before = static_cast<std::uint16_t>(avail_index_ - std::exchange(num_added_, std::uint16_t{0}));
  if (event_) {
    const auto event = read<std::uint16_t>(cpu, used() + areas_.avail_event());
    return vring_need_event(event, avail_index_, before);
  }
  return (read<std::uint16_t>(cpu, used() + VringAreas::flags) & vring_flag::used_no_notify) == 0;
}

bool Vring::notify() {
  if (broken_) return false;
  binding_->hardware().notify(index_);
  return true;
}

// virtqueue_disable_cb_split. With event indices an event that has just been raised will not be raised again.
void Vring::disable_interrupts(Mmu& cpu) {
  if ((avail_flags_ & vring_flag::avail_no_interrupt) != 0) return;
  avail_flags_ |= vring_flag::avail_no_interrupt;
  if (event_triggered_) return;
  if (event_)
    write(cpu, avail() + areas_.used_event(), std::uint16_t{0});
  else
    write(cpu, avail() + VringAreas::flags, avail_flags_);
}

// virtqueue_enable_cb_prepare_split and virtqueue_poll.
bool Vring::enable_interrupts(Mmu& cpu) {
  event_triggered_ = false;
  if ((avail_flags_ & vring_flag::avail_no_interrupt) != 0) {
    avail_flags_ = 0;
    if (!event_) write(cpu, avail() + VringAreas::flags, avail_flags_);
  }
  write(cpu, avail() + areas_.used_event(), last_used_);
  return broken_ || !more_used(cpu);
}

bool Vring::interrupted(Mmu& cpu) {
  if (!more_used(cpu) || broken_) return false;
  if (event_) event_triggered_ = true;
  return true;
}

bool Vring::more_used(Mmu& cpu) { return read<std::uint16_t>(cpu, used() + VringAreas::idx) != last_used_; }

// ---- getting back ----

std::optional<Vring::Used> Vring::get(Mmu& cpu) {
  if (broken_ || !more_used(cpu)) return std::nullopt;
  SiteScope scope{cpu, get_site_};
  const auto entry = read<VringUsedElem>(cpu, used() + VringAreas::used_ring(wrap(last_used_)));
  if (entry.id >= areas_.size) {
    bad_ring(fmt::format("id {} out of range", entry.id));
    return std::nullopt;
  }
  const auto head = static_cast<std::uint16_t>(entry.id);
  if (!slots_[head].token) {
    bad_ring(fmt::format("id {} is not a head!", entry.id));
    return std::nullopt;
  }
  const Used result{*slots_[head].token, entry.len};
  detach(cpu, head);
  ++last_used_;
  if ((avail_flags_ & vring_flag::avail_no_interrupt) == 0)
    write(cpu, avail() + areas_.used_event(), last_used_);
  return result;
}

// detach_buf_split: unmaps (this copies back from bounce buffers) and returns the descriptors to the free
// list.
void Vring::detach(Mmu& cpu, std::uint16_t head) {
  slots_[head].token.reset();
  std::uint16_t last = head;
  for (;;) {
    unmap(cpu, slots_[last].desc);
    ++num_free_;
    if ((slots_[last].desc.flags & vring_flag::next) == 0) break;
    last = slots_[last].desc.next;
  }
  slots_[last].desc.next = free_head_;
  free_head_ = head;

  if (const auto table = std::exchange(slots_[head].table, std::nullopt)) {
    unmap_all(cpu, table->entries);
    free_table(*table);
  }
}

std::optional<Vring::Token> Vring::detach_unused(Mmu& cpu) {
  for (std::uint16_t head = 0; head < slots_.size(); ++head) {
    const auto token = slots_[head].token;
    if (!token) continue;
    detach(cpu, head);
    --avail_index_;
    write(cpu, avail() + VringAreas::idx, avail_index_);
    return token;
  }
  CBIT_ASSERT(num_free_ == areas_.size);
  return std::nullopt;
}

void Vring::bad_ring(std::string_view why) {
  binding_->print(fmt::format("{}:{}", name_, why));
  broken_ = true;
}

}  // namespace cbit
