// IEEE 754 arithmetic as x86 processors do it, in integers: the same bits and flags on every host.
//
// Operands are Unpacked values of any format, results are rounded into the format that is named first, so
// that x87's operations on mixed formats round once. Where x87 and SSE differ, the result's format tells
// which is meant: only x87 computes in extended precision, only SSE in the others. The differences: which of
// two NaNs is propagated; precision control; scaled results of unmasked overflow and underflow; DAZ and FZ,
// which are false in an x87 environment.
//
// Exceptions: Environment::raised. With an unmasked precomputation exception the result has no meaning.
// Pure functions of their arguments; any thread.
//
// Sources: AMD APM vol. 1, 4.4.7, 4.10 and 6.3, 6.8; Intel SDM vol. 1, 4.8, 4.9, 8.5, 11.5 and appendix E.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "cpu/fp/environment.hpp"
#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp {

template <Format F>
[[nodiscard]] F add(const Unpacked& a, const Unpacked& b, Environment& env);
template <Format F>
[[nodiscard]] F subtract(const Unpacked& a, const Unpacked& b, Environment& env);
template <Format F>
[[nodiscard]] F multiply(const Unpacked& a, const Unpacked& b, Environment& env);
template <Format F>
[[nodiscard]] F divide(const Unpacked& a, const Unpacked& b, Environment& env);
template <Format F>
[[nodiscard]] F square_root(const Unpacked& a, Environment& env);

enum class Order : std::uint8_t { less, equal, greater, unordered };
enum class Comparison : std::uint8_t {
  ordered,   // a quiet NaN is invalid, too (COMISS, FCOM)
  unordered  // only a signaling NaN is (UCOMISS, FUCOM)
};
[[nodiscard]] Order compare(const Unpacked& a, const Unpacked& b, Comparison how, Environment& env);

// MINPS and the like: the second operand if one is a NaN or both are zeros. APM vol. 4, MINPS.
template <Format F>
[[nodiscard]] F minimum(F a, F b, Environment& env);
template <Format F>
[[nodiscard]] F maximum(F a, F b, Environment& env);

// Conversions between formats. Float80 as the source raises no denormal-operand exception (FST does not).
template <Format To, Format From>
[[nodiscard]] To convert(From value, Environment& env);

// To a signed integer of 16, 32 or 64 bits; its most negative value if invalid ("integer indefinite").
// Denormal operands are no exception.
[[nodiscard]] std::int64_t to_integer(const Unpacked& a, int bits, RoundingMode mode, Environment& env);
template <Format F>
[[nodiscard]] F from_integer(std::int64_t value, Environment& env);

// ROUNDPS and the like, with their own rounding mode and without a denormal-operand exception; with
// Float80: FRNDINT, which has one.
template <Format F>
[[nodiscard]] F round_to_integral(F value, RoundingMode mode, Environment& env);

// The rest is x87's own.

// FSCALE: a × 2^trunc(b).
[[nodiscard]] Float80 scale(const Unpacked& a, const Unpacked& b, Environment& env);

struct Extracted {
  Float80 exponent;
  Float80 significand;
};
// FXTRACT.
[[nodiscard]] Extracted extract(const Unpacked& a, Environment& env);

enum class Quotient : std::uint8_t {
  truncated,  // FPREM
  nearest     // FPREM1
};
struct Remainder {
  Float80 value;
  bool partial = false;  // the exponents are 64 or more apart: the value is only closer
  std::optional<std::uint8_t> quotient = std::nullopt;  // its three lowest bits, 0 if partial; none of a NaN
};
[[nodiscard]] Remainder remainder(const Unpacked& a, const Unpacked& b, Quotient how, Environment& env);

// Eighteen digits, two in a byte, and a sign in bit 79: FBLD, FBSTP.
using PackedDecimal = std::array<std::uint8_t, 10>;
inline constexpr PackedDecimal packed_decimal_indefinite = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
[[nodiscard]] Float80 from_packed_decimal(const PackedDecimal& value);
[[nodiscard]] PackedDecimal to_packed_decimal(const Unpacked& a, Environment& env);

}  // namespace cbit::cpu::fp
