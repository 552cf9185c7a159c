// The intermediate representation of code: operations on slots of a RegisterFile, and blocks of them.
//
// A block is straight-line code of one page, in terms that do not depend on where the page is mapped. It
// begins with `enter`, and ends with a branch and the exits that the branch chooses from, each an operation
// that finds the block to go on with; a back end may replace an exit by a direct link, until that block
// becomes stale.
//
// Nothing that an instruction changes is changed before the last of its operations that can fault.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isa/helper.hpp"
#include "isa/mode.hpp"
#include "isa/op_codes.hpp"
#include "isa/registers.hpp"

namespace cbit::isa {

enum class OpCode : std::uint16_t {
#define CBIT_OP(name, ...) name,
  CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
      count
};

enum class OpKind : std::uint8_t { plain, memory, branch, helper };

enum class FlagEffect : std::uint8_t {
  none,
  reads,
  sets,
  updates,
  sets_or_none,
  updates_or_none,
  updates_or_reads,
};

struct OpInfo {
  std::string_view name;
  OpKind kind{};
  FlagEffect effect{};
};

[[nodiscard]] const OpInfo& info_of(OpCode code);

// dst, a, b: slots. base + (index << scale) + disp: an address, where the operation has one.
struct Op {
  OpCode code{};
  Slot dst = slot_zero;
  Slot a = slot_zero;
  Slot b = slot_zero;
  Slot base = slot_zero;
  Slot index = slot_zero;
  std::uint8_t scale = 0;
  std::uint8_t instruction = 0;  // number in its block
  bool stack_fault = false;      // a non-canonical address is #SS, not #GP
  bool aligned = false;          // of 16 bytes: an address that is not a multiple of that is #GP
  std::int32_t disp = 0;
  Helper helper{};
  std::uint64_t imm = 0;  // of exits, in a back end: the operation to go on with
};
static_assert(sizeof(Op) == 32);

// Where an exit leads, as a distance from the page's first byte. A jump's 32 bits and a page's 12 are more
// than `disp` holds, so `a` (a number here) helps out.
[[nodiscard]] constexpr std::int64_t place_of_exit(const Op& exit) {
  return std::int64_t{exit.disp} + exit.a;
}

[[nodiscard]] constexpr OpCode operator+(OpCode code, unsigned places) {
  return static_cast<OpCode>(static_cast<unsigned>(code) + places);
}
// The member of a family by operand size in bytes; `code` is that of 8 bits.
[[nodiscard]] constexpr OpCode sized(OpCode code, unsigned bytes) {
  return code + static_cast<unsigned>(std::countr_zero(bytes));
}
// The member of a family by condition; `code` is that of `o`.
[[nodiscard]] constexpr OpCode conditional(OpCode code, Cond cond) {
  return code + static_cast<unsigned>(cond);
}

// An instruction of a block. A place is a distance from the page's first byte.
struct InstructionMark {
  std::uint16_t place = 0;
  std::uint8_t length = 0;
};

struct Block {
  std::vector<Op> ops;
  std::vector<InstructionMark> marks;
  std::uint16_t bytes = 0;  // of code
  bool crosses = false;     // its only instruction goes on in the next page
};

// One line per operation.
[[nodiscard]] std::string to_text(const Block& block);

}  // namespace cbit::isa
