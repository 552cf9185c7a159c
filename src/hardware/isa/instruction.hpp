// A decoded instruction, in this project's words: what a row of the table matches and a lowering function
// reads.
//
// A plain value.
#pragma once

#include <array>
#include <cstdint>

#include "isa/registers.hpp"

namespace cbit::isa {

enum class OperandKind : std::uint8_t {
  none,
  general,    // reg
  memory,     // segment, base, index, scale, value = displacement
  immediate,  // value, sign-extended where the instruction extends it
  relative,   // value = distance from the next instruction
  far,        // selector:value
  segment,    // reg = Segment
  control,    // reg
  debug,      // reg
  mmx,        // reg
  xmm,        // reg
  x87,        // reg = distance from the top of the stack
  other,      // a register that no row here knows
};

inline constexpr std::uint8_t no_register = 0xff;
inline constexpr std::uint8_t rip_register = 0xfe;

struct Operand {
  OperandKind kind = OperandKind::none;
  std::uint8_t bytes = 0;
  std::uint8_t reg = 0;
  bool high = false;  // AH, CH, DH, BH

  Segment segment = Segment::ds;
  std::uint8_t base = no_register;  // number of a Gpr, or rip_register
  std::uint8_t index = no_register;
  std::uint8_t scale = 0;  // a shift count
  std::int64_t value = 0;
  std::uint16_t selector = 0;

  [[nodiscard]] bool is_memory() const { return kind == OperandKind::memory; }
  [[nodiscard]] bool is_general() const { return kind == OperandKind::general; }
};

enum class Repeat : std::uint8_t { none, rep, repne };  // rep is repe, too

// Which of the forms that share a mnemonic this is.
enum class Form : std::uint8_t { any, general, segment, control, debug, mmx, xmm };

struct Instruction {
  std::uint16_t mnemonic = 0;  // the decoder's number; isa/table.hpp finds its row
  std::uint8_t length = 0;     // bytes
  std::uint8_t opcode = 0;     // last byte of the opcode
  std::uint8_t modrm = 0;
  std::uint8_t operand_bytes = 0;  // effective operand size
  std::uint8_t address_bytes = 0;  // effective address size
  std::uint8_t stack_bytes = 0;    // operand size of stack accesses
  Form form = Form::general;
  Repeat repeat = Repeat::none;
  bool lock = false;
  bool segment_override = false;
  bool rex_w = false;
  Segment segment = Segment::ds;  // of the string source: DS, or the override
  std::uint8_t operand_count = 0;
  std::array<Operand, 5> operands{};  // as written, destination first
};

}  // namespace cbit::isa
