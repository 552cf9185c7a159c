// The driver's side of a split virtqueue: drivers/virtio/virtio_ring.c.
//
// With ACCESS_PLATFORM (vring_use_dma_api) the ring is coherent DMA memory, buffers are mapped one by one
// with dma_map_page, and an indirect table is ordinary memory that is mapped TO_DEVICE, so that it bounces
// like data. Without, ring, tables and buffers are ordinary pages named by their guest-physical addresses:
// private memory in an encrypted guest.
//
// The device is not trusted: what was put into descriptors is kept in memory of our own (desc_extra), and
// only the used ring is believed, after a check. A used entry that makes no sense marks the queue broken, for
// good. Linux 6.1 finds the end of a chain by the NEXT flags in the shared ring; here they too are taken from
// the own copy.
//
// A ring that the CPU cannot reach (in Linux an oops) breaks the queue as well.
// Threading: one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/virtio/virtio.hpp"

namespace cbit {

// A scatterlist entry.
struct VringBuffer {
  PhysAddr phys;
  std::uint32_t length = 0;
};

class Vring {
 public:
  // Tells the requests of the caller apart.
  using Token = std::uint32_t;
  struct Used {
    Token token = 0;
    std::uint32_t length = 0;  // as the device says
  };

  // setup_vq and vring_create_virtqueue: queue `index` of the device, at its maximum size; a modern transport
  // halves it when there is no memory. -ENOENT: no such queue or already in use; -EINVAL: size no power of
  // two; -ENOMEM.
  static Result<std::unique_ptr<Vring>, Errno> create(Mmu& cpu, VirtioBinding& binding, std::uint16_t index,
                                                      std::string name);
  // Unmaps what is still in flight and frees the ring; the device must have been reset.
  ~Vring();
  Vring(const Vring&) = delete;
  Vring& operator=(const Vring&) = delete;

  // virtqueue_add_sgs: out, then in; not both empty. -EIO: broken; -ENOSPC: no free descriptors; -ENOMEM: a
  // buffer could not be mapped, and none is.
  Result<void, Errno> add(Mmu& cpu, std::span<const VringBuffer> out, std::span<const VringBuffer> in,
                          Token token);
  // virtqueue_kick: notifies unless the device asked not to be. False when the queue is broken.
  bool kick(Mmu& cpu);
  // virtqueue_get_buf: a finished request, unmapped. nullopt: none, or broken.
  std::optional<Used> get(Mmu& cpu);
  // virtqueue_disable_cb; virtqueue_enable_cb, which is false when requests are pending.
  void disable_interrupts(Mmu& cpu);
  [[nodiscard]] bool enable_interrupts(Mmu& cpu);
  // vring_interrupt: is there something to do?
  [[nodiscard]] bool interrupted(Mmu& cpu);
  // virtqueue_detach_unused_buf: takes back a request that the device never finished.
  std::optional<Token> detach_unused(Mmu& cpu);

  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] std::uint32_t size() const { return areas_.size; }
  [[nodiscard]] std::uint32_t free_descriptors() const { return num_free_; }
  // Where the ring lies, for the CPU and for the device, and how it is laid out.
  [[nodiscard]] const CoherentBuffer& memory() const { return ring_; }
  [[nodiscard]] const VringAreas& areas() const { return areas_; }
  [[nodiscard]] std::uint64_t align() const { return align_; }

 private:
  // kmalloc'ed, mapped for the device.
  struct IndirectTable {
    VirtAddr at;
    std::uint64_t pages = 0;
    std::vector<VringDesc> entries;
  };
  // Per descriptor: desc_extra, and desc_state for heads.
  struct Slot {
    VringDesc desc;  // addr, len and flags as given to the device; next links the free list too
    std::optional<Token> token;
    std::optional<IndirectTable> table;
  };

  Vring(VirtioBinding& binding, std::uint16_t index, std::string name);
  Result<void, Errno> allocate(Mmu& cpu, std::uint32_t size);
  [[nodiscard]] bool allocate_ring(Mmu& cpu);

  std::optional<IndirectTable> allocate_table(std::size_t entries);
  void free_table(const IndirectTable& table) { mm().free_pages(table.at, table.pages); }
  // Descriptors for all buffers, each with NEXT but the last.
  Result<std::vector<VringDesc>, Errno> map_all(Mmu& cpu, std::span<const VringBuffer> out,
                                                std::span<const VringBuffer> in);
  Result<VringDesc, Errno> map_one(Mmu& cpu, const VringBuffer& buffer, DmaDirection direction);
  Result<VringDesc, Errno> map_table(Mmu& cpu, IndirectTable& table);
  void unmap(Mmu& cpu, const VringDesc& desc);
  void unmap_all(Mmu& cpu, std::span<const VringDesc> descs);
  Result<void, Errno> submit(Mmu& cpu, const std::vector<VringDesc>& descs,
                             std::optional<IndirectTable>& table, Token token);
  // Puts descriptors into the ring from free_head_ on, and takes their slots.
  void place(Mmu& cpu, std::span<const VringDesc> descs);
  void expose(Mmu& cpu, std::uint16_t head);
  void detach(Mmu& cpu, std::uint16_t head);
  [[nodiscard]] bool kick_needed(Mmu& cpu);
  bool notify();
  void bad_ring(std::string_view why);

  [[nodiscard]] VirtAddr avail() const { return ring_.cpu + areas_.avail_offset(); }
  [[nodiscard]] VirtAddr used() const { return ring_.cpu + areas_.used_offset(align_); }
  [[nodiscard]] std::uint32_t wrap(std::uint16_t index) const { return index & (areas_.size - 1); }
  [[nodiscard]] bool more_used(Mmu& cpu);
  [[nodiscard]] Dma& dma() const { return binding_->kernel().dma(); }
  [[nodiscard]] Mm& mm() const { return binding_->kernel().mm(); }
  template <class T>
  T read(Mmu& cpu, VirtAddr at);
  template <class T>
  void write(Mmu& cpu, VirtAddr at, const T& value);

  VirtioBinding* binding_;
  std::uint16_t index_;
  std::string name_;
  std::uint64_t align_;
  bool use_dma_api_;
  bool indirect_;
  bool event_;
  SiteId add_site_;
  SiteId get_site_;

  VringAreas areas_;
  CoherentBuffer ring_;
  std::vector<Slot> slots_;
  bool broken_ = false;
  bool event_triggered_ = false;
  std::uint16_t free_head_ = 0;
  std::uint32_t num_free_ = 0;
  std::uint16_t num_added_ = 0;
  std::uint16_t last_used_ = 0;
  std::uint16_t avail_index_ = 0;
  std::uint16_t avail_flags_ = 0;
};

}  // namespace cbit
