// What straight-line code of a processor works on: registers, flags, the translations it may use, the counter
// that ends it. Interpreter and JIT address its members by offset.
//
// The rest of a processor is around it (cpu/core.hpp), out of reach of fast paths.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "cpu/flags.hpp"
#include "cpu/fp/sse.hpp"
#include "isa/op.hpp"
#include "isa/registers.hpp"

namespace cbit::cpu {

struct CodeBlock;

// One page as fast paths see it. A tag is the page's linear address where the access needs nothing but the
// host's bytes at addend + address; its low bits are not zero where it needs more, or nothing is there.
struct TlbEntry {
  std::uint64_t read_tag = ~std::uint64_t{0};
  std::uint64_t write_tag = ~std::uint64_t{0};
  std::uintptr_t addend = 0;
  std::uint64_t unused = 0;  // entries are addressed by a shift
};
static_assert(sizeof(TlbEntry) == 32);

inline constexpr std::size_t tlb_entries = 1024;
inline constexpr std::uint64_t page_mask = ~std::uint64_t{0xfff};

[[nodiscard]] constexpr std::size_t tlb_index(std::uint64_t linear) {
  return linear >> 12 & (tlb_entries - 1);
}

// Where code goes on at a RIP, while translations stand.
struct JumpEntry {
  std::uint64_t rip = ~std::uint64_t{0};
  std::uint64_t page = 0;  // RegisterFile::page there
  const isa::Op* op = nullptr;
  const CodeBlock* block = nullptr;  // that the operation begins
};
inline constexpr std::size_t jump_entries = 16384;
[[nodiscard]] constexpr std::size_t jump_index(std::uint64_t rip) {
  return (rip ^ rip >> 12) & (jump_entries - 1);
}

// Why straight-line code ended.
enum class Leave : std::uint8_t {
  lookup,  // RIP is elsewhere, and no block is known for it
  budget,  // the counter ran out, before the block
  fault,   // an exception is pending, of the instruction that RIP is at
  retry,   // the instruction is to be done once more, on its own
};

struct State;
// Runs generated code; comes back with the operation to interpret next, or nullptr where straight-line code
// ended.
using EnterTranslation = const isa::Op* (*)(State*, const void* code);

struct State {
  isa::RegisterFile regs;
  Flags flags;
  std::int64_t budget = 0;  // instructions that may begin
  TlbEntry* tlb = nullptr;
  JumpEntry* jumps = nullptr;
  EnterTranslation enter_translation = nullptr;
  const CodeBlock* block = nullptr;  // that runs
  std::uint64_t rip = 0;             // while no block runs
  std::uint64_t rip_mask = ~std::uint64_t{0};
  Leave leave = Leave::lookup;
  bool direction = false;  // RFLAGS.DF
  fp::Mxcsr mxcsr;
  // The host's, for its own code: no exceptions, round to nearest.
  std::uint32_t host_mxcsr = fp::mxcsr_at_reset.raw;
  // Among processors on threads of the host: Standstill::wanted().
  const std::atomic<std::uint32_t>* wanted = nullptr;
};

// A register's bytes at a slot. Writing 32 bits clears the upper half: APM vol. 1, 3.1.2.
template <class T>
[[nodiscard]] inline T get(const State& s, isa::Slot slot) {
  T value;
  __builtin_memcpy(&value, reinterpret_cast<const char*>(&s.regs) + slot, sizeof value);
  return value;
}
template <class T>
inline void put(State& s, isa::Slot slot, T value) {
  char* at = reinterpret_cast<char*>(&s.regs) + slot;
  if constexpr (sizeof(T) == 4) {
    const std::uint64_t wide = value;
    __builtin_memcpy(at, &wide, sizeof wide);
  } else {
    __builtin_memcpy(at, &value, sizeof value);
  }
}

[[nodiscard]] inline std::uint64_t address_of(const State& s, const isa::Op* op) {
  return get<std::uint64_t>(s, op->base) + (get<std::uint64_t>(s, op->index) << op->scale) +
         static_cast<std::uint64_t>(std::int64_t{op->disp});
}

}  // namespace cbit::cpu
