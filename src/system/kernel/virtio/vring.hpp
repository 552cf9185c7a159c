// The driver's side of a virtqueue: drivers/virtio/virtio_ring.c. What both formats share; the formats are
// vring_split.hpp and vring_packed.hpp.
//
// With ACCESS_PLATFORM (vring_use_dma_api) the ring is coherent DMA memory, buffers are mapped one by one
// with dma_map_page, and an indirect table is ordinary memory that is mapped TO_DEVICE, so that it bounces
// like data. Without, ring, tables and buffers are ordinary pages named by their guest-physical addresses:
// private memory in an encrypted guest.
//
// The device is not trusted: what was put into descriptors is kept in memory of our own (desc_extra), and
// only what the device returns is believed, after a check. A used entry that makes no sense marks the queue
// broken, for good. Linux 6.1 finds the end of a chain of a split ring by the NEXT flags in the shared ring;
// here they too are taken from the own copy.
//
// A ring that the CPU cannot reach (in Linux an oops) breaks the queue as well. Each notification is a
// GuestExit.
// Threading: one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/virtio/virtio.hpp"

namespace cbit::kernel {

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

  // setup_vq and vring_create_virtqueue: queue `index` of the device, at its maximum size; a split ring of a
  // modern transport is halved when there is no memory. -ENOENT: no such queue or already in use; -EINVAL:
  // size no power of two; -ENOMEM.
  static Result<std::unique_ptr<Vring>, Errno> create(paging::Mmu& cpu, VirtioBinding& binding,
                                                      std::uint16_t index, std::string name);
  // Unmaps what is still in flight and frees the ring; the device must have been reset.
  virtual ~Vring() = default;
  Vring(const Vring&) = delete;
  Vring& operator=(const Vring&) = delete;

  // virtqueue_add_sgs: out, then in; not both empty. -EIO: broken; -ENOSPC: no free descriptors. A buffer
  // that could not be mapped, and then none is: -ENOMEM of a split ring; -EIO of a packed one without
  // table.
  Result<void, Errno> add(paging::Mmu& cpu, std::span<const VringBuffer> out, std::span<const VringBuffer> in,
                          Token token);
  // virtqueue_kick: notifies unless the device asked not to be. False when the queue is broken.
  bool kick(paging::Mmu& cpu) { return kick_needed(cpu) ? notify() : !broken_; }
  // virtqueue_get_buf: a finished request, unmapped. nullopt: none, or broken.
  std::optional<Used> get(paging::Mmu& cpu);
  // virtqueue_disable_cb; virtqueue_enable_cb, which is false when requests are pending.
  virtual void disable_interrupts(paging::Mmu& cpu) = 0;
  [[nodiscard]] virtual bool enable_interrupts(paging::Mmu& cpu) = 0;
  // vring_interrupt: is there something to do?
  [[nodiscard]] bool interrupted(paging::Mmu& cpu);
  // virtqueue_detach_unused_buf: takes back a request that the device never finished.
  virtual std::optional<Token> detach_unused(paging::Mmu& cpu) = 0;

  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t free_descriptors() const { return num_free_; }
  // Where the ring lies, for the CPU and for the device: all of a split ring, the descriptors of a packed
  // one.
  [[nodiscard]] const CoherentBuffer& memory() const { return ring_; }

 protected:
  // kmalloc'ed, mapped for the device. `entries` name what it maps.
  struct IndirectTable {
    VirtAddr at;
    std::uint64_t pages = 0;
    std::vector<spec::VringDesc> entries;
  };

  Vring(VirtioBinding& binding, std::uint16_t index, std::string name, std::string_view format);

  virtual Result<void, Errno> allocate(paging::Mmu& cpu, std::uint32_t size) = 0;
  [[nodiscard]] virtual dev::VirtQueueConfig config() const = 0;
  virtual Result<void, Errno> add_to_ring(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                          std::span<const VringBuffer> in, Token token) = 0;
  [[nodiscard]] virtual bool kick_needed(paging::Mmu& cpu) = 0;
  [[nodiscard]] virtual bool more_used(paging::Mmu& cpu) = 0;
  [[nodiscard]] virtual std::optional<Used> take_used(paging::Mmu& cpu) = 0;

  // vring_alloc_queue and vring_free_queue.
  std::optional<CoherentBuffer> allocate_area(paging::Mmu& cpu, std::uint64_t bytes);
  void free_area(paging::Mmu& cpu, const CoherentBuffer& area);
  std::optional<IndirectTable> allocate_table(std::size_t entries);
  void free_table(const IndirectTable& table) { mm().free_pages(table.at, table.pages); }
  // Descriptors for all buffers, each with NEXT but the last, and with WRITE where the device writes.
  // -ENOMEM.
  Result<std::vector<spec::VringDesc>, Errno> map_all(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                                      std::span<const VringBuffer> in);
  // Writes the finished table and maps it like data: the device reads it as it was at this moment. -ENOMEM.
  Result<spec::VringDesc, Errno> map_table(paging::Mmu& cpu, const IndirectTable& table,
                                           ConstByteSpan contents);
  void unmap(paging::Mmu& cpu, const spec::VringDesc& desc);
  void unmap_all(paging::Mmu& cpu, std::span<const spec::VringDesc> descs);
  bool notify();
  // BAD_RING
  std::nullopt_t bad_ring(std::string_view why);

  [[nodiscard]] Dma& dma() const { return binding_->kernel().dma(); }
  [[nodiscard]] Mm& mm() const { return binding_->kernel().mm(); }
  [[nodiscard]] VirtioBinding& binding() const { return *binding_; }
  [[nodiscard]] bool indirect() const { return indirect_; }
  [[nodiscard]] bool event_idx() const { return event_; }
  template <class T>
  T read(paging::Mmu& cpu, VirtAddr at) {
    const auto value = cpu.load<T>(at);
    if (!value) broken_ = true;
    return value.value_or(T{});
  }
  template <class T>
  void write(paging::Mmu& cpu, VirtAddr at, const T& value) {
    if (!cpu.store(at, value)) broken_ = true;
  }

  CoherentBuffer ring_;
  std::uint32_t size_ = 0;
  std::uint32_t num_free_ = 0;
  bool broken_ = false;
  bool event_triggered_ = false;

 private:
  Result<spec::VringDesc, Errno> map_one(paging::Mmu& cpu, const VringBuffer& buffer, DmaDirection direction);

  VirtioBinding* binding_;
  std::uint16_t index_;
  std::string name_;
  bool use_dma_api_;
  bool indirect_;
  bool event_;
  SiteId add_site_;
  SiteId get_site_;
};

}  // namespace cbit::kernel
