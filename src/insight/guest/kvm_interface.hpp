// What a guest is offered of KVM's interface: MAP_GPA_RANGE, with which it tells which pages it shares, and
// the register in which it says that it may be migrated. Nothing else of KVM: no clock, no steal time.
//
// Each call becomes a PageStateRequest event. Sources: spec/kvm.hpp; results as kvm_emulate_hypercall() of
// arch/x86/kvm/x86.c gives them. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/state_stream.hpp"
#include "cpu/cpu.hpp"
#include "machine/machine.hpp"

namespace cbit::guest {

class KvmInterface {
 public:
  // `machine` outlives it.
  explicit KvmInterface(machine::Machine& machine) : machine_{&machine} {}

  // Of CPUID, Fn4000_0000 and on.
  [[nodiscard]] static std::vector<std::array<std::uint32_t, 4>> leaves();

  void hypercall(cpu::Cpu& cpu);
  [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr) const;
  bool write_msr(std::uint32_t msr, std::uint64_t value);
  void transfer(StateStream& s) { s(migration_control_); }

 private:
  machine::Machine* machine_;
  std::uint64_t migration_control_ = 0;
};

}  // namespace cbit::guest
