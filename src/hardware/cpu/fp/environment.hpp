// What a floating-point operation is told besides its operands, and what it tells besides its result:
// rounding, precision, masks and flags, as the x87 control and status words and MXCSR have them.
//
// A plain value: one operation reads and writes it. AMD APM vol. 1, 4.2.2 (MXCSR) and 6.2.2, 6.2.3 (x87
// status and control words); Intel SDM vol. 1, 4.9 (exceptions, and their priorities).
#pragma once

#include <cstdint>

namespace cbit::cpu::fp {

// Rounding control: bits 11:10 of the x87 control word, bits 14:13 of MXCSR.
enum class RoundingMode : std::uint8_t { nearest = 0, down = 1, up = 2, zero = 3 };

// A set of exceptions, in the order of bits 5:0 of the x87 status word and of MXCSR.
using Exceptions = std::uint8_t;
inline constexpr Exceptions ie = 1 << 0;  // invalid operation
inline constexpr Exceptions de = 1 << 1;  // denormal operand
inline constexpr Exceptions ze = 1 << 2;  // division by zero
inline constexpr Exceptions oe = 1 << 3;  // overflow
inline constexpr Exceptions ue = 1 << 4;  // underflow
inline constexpr Exceptions pe = 1 << 5;  // precision
inline constexpr Exceptions all_exceptions = 0x3f;
// Found before there is a result. Unmasked, they end the operation, so that none of the others is found.
inline constexpr Exceptions precomputation = ie | de | ze;

struct Environment {
  // In.
  RoundingMode rounding = RoundingMode::nearest;
  std::uint8_t significand_bits = 64;  // of results in extended precision (x87 precision control): 24, 53, 64
  Exceptions masked = all_exceptions;
  bool denormals_are_zero = false;  // MXCSR.DAZ
  bool flush_to_zero = false;       // MXCSR.FZ

  // Out.
  Exceptions raised = 0;
  bool rounded_up = false;  // the result's magnitude is larger than the exact one: C1 of x87

  void raise(Exceptions which) { raised = static_cast<Exceptions>(raised | which); }
  // With one of these raised, the result of the operation has no meaning, except for overflow and underflow
  // in extended precision, whose results are scaled into range.
  [[nodiscard]] Exceptions unmasked() const { return static_cast<Exceptions>(raised & ~masked); }
};

}  // namespace cbit::cpu::fp
