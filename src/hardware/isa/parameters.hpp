// What helpers are told besides slots and addresses, packed into an operation's imm.
#pragma once

#include <cstdint>

#include "isa/instruction.hpp"

namespace cbit::isa {

// String instructions.
struct StringParameters {
  unsigned bytes = 1;          // of an element
  unsigned address_bytes = 8;  // of rSI, rDI, rCX
  Repeat repeat = Repeat::none;
  Segment segment = Segment::ds;  // of the source

  [[nodiscard]] constexpr std::uint64_t packed() const {
    return bytes | address_bytes << 8 | static_cast<unsigned>(repeat) << 16 |
           static_cast<unsigned>(segment) << 24;
  }
  [[nodiscard]] static constexpr StringParameters unpacked(std::uint64_t imm) {
    return {.bytes = static_cast<unsigned>(imm & 0xff),
            .address_bytes = static_cast<unsigned>(imm >> 8 & 0xff),
            .repeat = static_cast<Repeat>(imm >> 16 & 0xff),
            .segment = static_cast<Segment>(imm >> 24 & 0xff)};
  }
};

// Helper::atomic: dst becomes what memory had, which gets what comes of that and of the slot `a`. Flags stay,
// and those before it are read by add_carry and subtract_borrow; compare_exchange stores `b` where memory has
// what `a` has.
enum class Atomic : std::uint8_t {
  add,
  subtract,
  add_carry,
  subtract_borrow,
  bit_and,
  bit_or,
  bit_xor,
  negate,
  complement,
  set_bit,  // of that number, modulo the operand's bits
  reset_bit,
  flip_bit,
  exchange,
  compare_exchange,
};
struct AtomicParameters {
  Atomic what{};
  unsigned bytes = 1;

  [[nodiscard]] constexpr std::uint64_t packed() const { return static_cast<unsigned>(what) | bytes << 8; }
  [[nodiscard]] static constexpr AtomicParameters unpacked(std::uint64_t imm) {
    return {.what = static_cast<Atomic>(imm & 0xff), .bytes = static_cast<unsigned>(imm >> 8)};
  }
};

// Far jumps and calls: a target in the instruction, or a pointer at the operation's address.
struct FarParameters {
  std::uint32_t offset = 0;
  std::uint16_t selector = 0;
  unsigned operand_bytes = 4;
  bool in_memory = false;

  [[nodiscard]] constexpr std::uint64_t packed() const {
    return offset | std::uint64_t{selector} << 32 | std::uint64_t{operand_bytes} << 48 |
           std::uint64_t{in_memory} << 63;
  }
  [[nodiscard]] static constexpr FarParameters unpacked(std::uint64_t imm) {
    return {.offset = static_cast<std::uint32_t>(imm),
            .selector = static_cast<std::uint16_t>(imm >> 32),
            .operand_bytes = static_cast<unsigned>(imm >> 48 & 0xff),
            .in_memory = imm >> 63 != 0};
  }
};

// Helper::sse and Helper::mmx: the operation is told by its mnemonic, since the processor has names for them,
// too. Registers of MMX are told by number, everything else by slot; a source that is no register is in a
// temporary.
struct VectorParameters {
  std::uint16_t mnemonic = 0;
  std::uint8_t immediate = 0;
  std::uint8_t result_bytes = 0;  // of a general register that gets the result
  bool wide = false;              // REX.W
  bool mmx_target = false;
  bool mmx_source = false;

  [[nodiscard]] constexpr std::uint64_t packed() const {
    return mnemonic | std::uint64_t{immediate} << 16 | std::uint64_t{result_bytes} << 24 |
           std::uint64_t{wide} << 32 | std::uint64_t{mmx_target} << 33 | std::uint64_t{mmx_source} << 34;
  }
  [[nodiscard]] static constexpr VectorParameters unpacked(std::uint64_t imm) {
    return {.mnemonic = static_cast<std::uint16_t>(imm),
            .immediate = static_cast<std::uint8_t>(imm >> 16),
            .result_bytes = static_cast<std::uint8_t>(imm >> 24),
            .wide = (imm >> 32 & 1) != 0,
            .mmx_target = (imm >> 33 & 1) != 0,
            .mmx_source = (imm >> 34 & 1) != 0};
  }
};

// Helper::x87. Register operands by their distance from the top; a memory operand lies at the operation's
// address.
struct X87Parameters {
  std::uint16_t mnemonic = 0;
  std::uint16_t opcode = 0;       // bits 10:0, as FSAVE's image has them
  std::uint8_t memory_bytes = 0;  // 0: no memory operand
  std::uint8_t first = 0;         // ST(first)
  std::uint8_t second = 0;

  [[nodiscard]] constexpr std::uint64_t packed() const {
    return mnemonic | std::uint64_t{opcode} << 16 | std::uint64_t{memory_bytes} << 32 |
           std::uint64_t{first} << 40 | std::uint64_t{second} << 48;
  }
  [[nodiscard]] static constexpr X87Parameters unpacked(std::uint64_t imm) {
    return {.mnemonic = static_cast<std::uint16_t>(imm),
            .opcode = static_cast<std::uint16_t>(imm >> 16),
            .memory_bytes = static_cast<std::uint8_t>(imm >> 32),
            .first = static_cast<std::uint8_t>(imm >> 40),
            .second = static_cast<std::uint8_t>(imm >> 48)};
  }
};

// Which of the instructions that a helper serves.
enum class Table : std::uint8_t { gdt, idt };
enum class SystemSegment : std::uint8_t { ldt, tss };
enum class SavedState : std::uint8_t { fxsave, xsave, xsaveopt, xsavec };
// How an interrupt by software differs: INT n, INT3 and INTO, INT1.
enum class SoftwareInterrupt : std::uint8_t { general, one_byte, debug };

// A choice and a size.
template <class Choice>
struct Choose {
  Choice choice{};
  unsigned bytes = 0;

  [[nodiscard]] constexpr std::uint64_t packed() const {
    return static_cast<std::uint64_t>(choice) | std::uint64_t{bytes} << 8;
  }
  [[nodiscard]] static constexpr Choose unpacked(std::uint64_t imm) {
    return {.choice = static_cast<Choice>(imm & 0xff), .bytes = static_cast<unsigned>(imm >> 8 & 0xff)};
  }
};

}  // namespace cbit::isa
