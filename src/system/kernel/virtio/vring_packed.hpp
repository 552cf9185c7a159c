// The driver's side of a packed virtqueue: the *_packed functions of drivers/virtio/virtio_ring.c.
//
// Descriptors and the two event suppression structures are three allocations. A buffer's id is that of the
// first of the entries that remember its descriptors; the device returns it, wherever in the ring.
#pragma once

#include "kernel/virtio/vring.hpp"

namespace cbit::kernel {

class PackedVring final : public Vring {
 public:
  PackedVring(VirtioBinding& binding, std::uint16_t index, std::string name)
      : Vring{binding, index, std::move(name), "packed"} {}
  ~PackedVring() override;

  void disable_interrupts(paging::Mmu& cpu) override;
  [[nodiscard]] bool enable_interrupts(paging::Mmu& cpu) override;
  std::optional<Token> detach_unused(paging::Mmu& cpu) override;

  // Event suppression structures: what the driver writes, and what the device does.
  [[nodiscard]] const CoherentBuffer& driver_area() const { return driver_event_; }
  [[nodiscard]] const CoherentBuffer& device_area() const { return device_event_; }

 private:
  // desc_extra, and desc_state where the entry's index is the id of a buffer.
  struct Entry {
    spec::VringDesc desc;  // addr, len and flags as given to the device; next links lists of entries
    std::optional<Token> token;
    std::optional<IndirectTable> table;
    std::uint16_t descriptors = 0;
    std::uint16_t last = 0;
  };

  Result<void, Errno> allocate(paging::Mmu& cpu, std::uint32_t size) override;
  [[nodiscard]] dev::VirtQueueConfig config() const override;
  Result<void, Errno> add_to_ring(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                  std::span<const VringBuffer> in, Token token) override;
  [[nodiscard]] bool kick_needed(paging::Mmu& cpu) override;
  [[nodiscard]] bool more_used(paging::Mmu& cpu) override;
  [[nodiscard]] std::optional<Used> take_used(paging::Mmu& cpu) override;

  Result<void, Errno> add_indirect(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                   std::span<const VringBuffer> in, Token token);
  // Puts the descriptors at the next places, under the id of the first free entry, and shows them.
  void place(paging::Mmu& cpu, std::span<const spec::VringDesc> descs, std::optional<IndirectTable> table,
             Token token);
  void detach(paging::Mmu& cpu, std::uint16_t id);
  [[nodiscard]] VirtAddr slot(std::uint16_t index) const { return ring_.cpu + spec::VringAreas::desc(index); }
  void write_event_flags(paging::Mmu& cpu);

  CoherentBuffer driver_event_, device_event_;
  std::vector<Entry> entries_;
  std::uint16_t free_head_ = 0;
  spec::PackedPlace next_avail_, last_used_;
  std::uint32_t num_added_ = 0;
  std::uint16_t event_flags_ = spec::packed_event::enable;  // event_flags_shadow
};

}  // namespace cbit::kernel
