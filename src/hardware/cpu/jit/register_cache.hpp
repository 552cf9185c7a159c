// Slots of the register file in registers of the host, while a block is translated.
//
// A slot's value is loaded when it is first asked for and stored when its register is needed for another, or
// when the block ends. What an operation has asked for stays until the next one begins.
//
// Moves are all that this emits: the host's flags stay as they are.
#pragma once

#include <asmjit/x86.h>

#include <array>

#include "isa/registers.hpp"

namespace cbit::cpu::jit {

using asmjit::x86::Assembler;
using asmjit::x86::Gp;
using isa::Slot;

// Registers with one meaning all the time: the State, its budget, its translations.
inline constexpr Gp reg_state = asmjit::x86::rbx;
inline constexpr Gp reg_budget = asmjit::x86::r15;
inline constexpr Gp reg_tlb = asmjit::x86::r14;
// RAX, RCX and RDX are an operation's own.

class RegisterCache {
 public:
  struct Place {
    static constexpr Slot no_slot = 0xffff;
    Slot slot = no_slot;
    bool dirty = false;
    unsigned used_by = 0;  // number of the operation
  };
  static constexpr unsigned places = 9;
  using Snapshot = std::array<Place, places>;

  explicit RegisterCache(Assembler& as) : as_{&as} {}

  void begin_operation() { ++operation_; }
  // All 64 bits of a slot: to read, to overwrite wholly, to change.
  [[nodiscard]] Gp use(Slot slot);
  [[nodiscard]] Gp define(Slot slot);
  [[nodiscard]] Gp change(Slot slot);
  // A register for this operation alone.
  [[nodiscard]] Gp scratch();

  // The register file becomes right; registers keep what they have.
  void store_all() { store_all(values_); }
  // Likewise, of a block that ends: temporaries are no more.
  void store_at_end();
  void forget_all() { values_ = {}; }
  // Of a slot that is written past the cache.
  void forget(Slot slot);

  // For code out of line that returns here: what the registers held when it was left.
  [[nodiscard]] const Snapshot& snapshot() const { return values_; }
  void store_all(const Snapshot& snapshot);
  void load_all(const Snapshot& snapshot);

  // For a loop: what the registers hold when it begins again, and the moves that make it so.
  [[nodiscard]] Snapshot without_temporaries() const;
  void start_with(const Snapshot& snapshot) { values_ = snapshot; }
  void become(const Snapshot& wanted);

 private:
  [[nodiscard]] int find(Slot slot) const;
  [[nodiscard]] unsigned take_place();
  void store(const Snapshot& from, unsigned place);

  Assembler* as_;
  Snapshot values_{};
  unsigned operation_ = 1;
};

// A slot of the State as an operand in the host's memory.
[[nodiscard]] asmjit::x86::Mem in_state(std::size_t offset, unsigned bytes);

}  // namespace cbit::cpu::jit
