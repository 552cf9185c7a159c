// A machine with MKTME, and what memory looks like under each of its KeyIDs.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernel/kernel.hpp"
#include "machine/machine.hpp"

namespace cbit {

inline void require(bool holds) {
  if (!holds) std::abort();
}

class MktmeBoard {
 public:
  static constexpr unsigned key_ids = 7;

  MktmeBoard() {
    machine_ = std::move(*machine::Machine::create(
        {.platform = Platform::mktme, .key_id_bits = 3, .memory_bytes = 32ull << 20}));
    kernel::DmaConfig dma;
    dma.swiotlb.slots = 512;
    kernel_ = std::move(*kernel::Kernel::boot(*machine_, dma));
    witness_ = *kernel_->mm().page_allocator().allocate(1);
    require(kernel_->cpu(0)
                .write(kernel_->mm().phys_to_virt(witness_), pattern_bytes(witness_bytes, 5))
                .has_value());
  }

  [[nodiscard]] kernel::Kernel& kernel() { return *kernel_; }
  [[nodiscard]] machine::Tme& tme() { return *machine_->tme(); }

  // The same memory, of KeyID 0, as each KeyID decrypts it: changes exactly where a key does.
  using Views = std::array<Bytes, key_ids + 1>;
  [[nodiscard]] Views views() const {
    Views seen;
    for (unsigned id = 0; id <= key_ids; ++id) {
      seen[id].resize(witness_bytes);
      require(machine_->memory()
                  .peek(witness_, seen[id], machine_->paging().view.key(static_cast<mem::KeySelector>(id)))
                  .has_value());
    }
    return seen;
  }

 private:
  static constexpr std::uint64_t witness_bytes = 32;

  std::unique_ptr<machine::Machine> machine_;
  std::unique_ptr<kernel::Kernel> kernel_;
  PhysAddr witness_;
};

}  // namespace cbit
