// The physical space of a machine: its memory, and behind that its bus.
//
// One per CPU, which its accesses name. Threading: one thread, that of the machine.
#pragma once

#include "cpu/physical_space.hpp"
#include "mem/memory.hpp"
#include "paging/io_space.hpp"

namespace cbit::cpu {

class SystemSpace final : public PhysicalSpace {
 public:
  // Both outlive it.
  SystemSpace(mem::Memory& memory, paging::IoSpace& io, std::uint16_t cpu)
      : memory_{&memory}, io_{&io}, agent_{AgentKind::cpu, cpu} {}

  std::byte* lease(PhysAddr page, KeyId key, mem::LeaseIntent intent, mem::LeaseHolder& holder) override;
  void end_leases(PhysAddr page, mem::LeaseHolder& holder) override { memory_->end_leases(page, holder); }
  void end_leases(mem::LeaseHolder& holder) override { memory_->end_leases(holder); }
  // A device that is reached with the encryption bit is private_mmio, as in paging::Mmu.
  Result<void> read(PhysAddr from, ByteSpan to, KeyId key) override;
  Result<void> write(PhysAddr to, ConstByteSpan from, KeyId key) override;
  [[nodiscard]] bool is_memory(PhysAddr at, std::uint64_t bytes) const override {
    return memory_->contains(at, bytes);
  }

 private:
  [[nodiscard]] mem::Access access(KeyId key) const { return {.agent = agent_, .key = key}; }

  mem::Memory* memory_;
  paging::IoSpace* io_;
  Agent agent_;
};

}  // namespace cbit::cpu
