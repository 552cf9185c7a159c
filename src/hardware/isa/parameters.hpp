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

// Which of the instructions that a helper serves.
enum class Table : std::uint8_t { gdt, idt };
enum class SystemSegment : std::uint8_t { ldt, tss };
enum class SavedState : std::uint8_t { fxsave, xsave, xsaveopt, xsavec };
enum class X87State : std::uint8_t { control, status, environment, all, clear, initialize };
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
