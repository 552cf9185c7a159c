// The driver's side of a split virtqueue: the *_split functions of drivers/virtio/virtio_ring.c.
#pragma once

#include "kernel/virtio/vring.hpp"

namespace cbit::kernel {

class SplitVring final : public Vring {
 public:
  SplitVring(VirtioBinding& binding, std::uint16_t index, std::string name);
  ~SplitVring() override;

  void disable_interrupts(paging::Mmu& cpu) override;
  [[nodiscard]] bool enable_interrupts(paging::Mmu& cpu) override;
  std::optional<Token> detach_unused(paging::Mmu& cpu) override;

  // How the ring is laid out.
  [[nodiscard]] spec::VringAreas areas() const { return spec::VringAreas{size_}; }
  [[nodiscard]] std::uint64_t align() const { return align_; }

 private:
  // Per descriptor: desc_extra, and desc_state for heads.
  struct Slot {
    spec::VringDesc desc;  // addr, len and flags as given to the device; next links the free list too
    std::optional<Token> token;
    std::optional<IndirectTable> table;
  };

  Result<void, Errno> allocate(paging::Mmu& cpu, std::uint32_t size) override;
  [[nodiscard]] dev::VirtQueueConfig config() const override;
  Result<void, Errno> add_to_ring(paging::Mmu& cpu, std::span<const VringBuffer> out,
                                  std::span<const VringBuffer> in, Token token) override;
  [[nodiscard]] bool kick_needed(paging::Mmu& cpu) override;
  [[nodiscard]] bool more_used(paging::Mmu& cpu) override;
  [[nodiscard]] std::optional<Used> take_used(paging::Mmu& cpu) override;

  Result<void, Errno> submit(paging::Mmu& cpu, const std::vector<spec::VringDesc>& descs,
                             std::optional<IndirectTable>& table, Token token);
  // Puts descriptors into the ring from free_head_ on, and takes their slots.
  void place(paging::Mmu& cpu, std::span<const spec::VringDesc> descs);
  void expose(paging::Mmu& cpu, std::uint16_t head);
  void detach(paging::Mmu& cpu, std::uint16_t head);

  [[nodiscard]] VirtAddr avail() const { return ring_.cpu + areas().avail_offset(); }
  [[nodiscard]] VirtAddr used() const { return ring_.cpu + areas().used_offset(align_); }
  [[nodiscard]] std::uint32_t wrap(std::uint16_t index) const { return index & (size_ - 1); }

  std::uint64_t align_;
  std::vector<Slot> slots_;
  std::uint16_t free_head_ = 0;
  std::uint16_t num_added_ = 0;
  std::uint16_t last_used_ = 0;
  std::uint16_t avail_index_ = 0;
  std::uint16_t avail_flags_ = 0;
};

}  // namespace cbit::kernel
