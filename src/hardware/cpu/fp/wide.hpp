// Floating point with 128 bits of significand, in which transcendental functions are computed before they are
// rounded once. Each operation is off by at most a few units of the last bit. Internal to this folder.
#pragma once

#include "cpu/fp/formats.hpp"
#include "cpu/fp/rounding.hpp"

namespace cbit::cpu::fp {

// significand × 2^(exponent − 127), the significand's top bit set; or zero.
struct Wide {
  bool sign = false;
  int exponent = 0;
  U128 significand = 0;

  constexpr Wide() = default;
  constexpr Wide(bool s, int e, U128 m) : sign{s}, exponent{e}, significand{m} {}
  explicit Wide(const Unpacked& a)
      : sign{a.sign}, exponent{a.exponent}, significand{static_cast<U128>(a.significand) << 64} {}
  explicit Wide(int value) : Wide{Unpacked::from_integer(value)} {}
  // high:low is the significand.
  static constexpr Wide constant(int exponent, std::uint64_t high, std::uint64_t low) {
    return {false, exponent, static_cast<U128>(high) << 64 | low};
  }

  [[nodiscard]] bool is_zero() const { return significand == 0; }
  Wide operator-() const { return {!sign, exponent, significand}; }
};

inline Wide normalized_wide(bool sign, int exponent, U128 significand) {
  if (significand == 0) return {};
  const Exact x = normalized(sign, exponent, significand);
  return {sign, x.exponent, static_cast<U128>(x.high) << 64 | x.low};
}

inline Wide operator+(const Wide& a, const Wide& b) {
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  const bool a_is_larger =
      a.exponent > b.exponent || (a.exponent == b.exponent && a.significand >= b.significand);
  const Wide& large = a_is_larger ? a : b;
  const Wide& small = a_is_larger ? b : a;
  const U128 augend = large.significand >> 1;
  const U128 addend = shift_right_sticky(small.significand, large.exponent - small.exponent + 1);
  const U128 total = a.sign == b.sign ? augend + addend : augend - addend;
  return normalized_wide(large.sign, large.exponent + 1, total);
}

inline Wide operator-(const Wide& a, const Wide& b) { return a + -b; }

inline Wide operator*(const Wide& a, const Wide& b) {
  if (a.is_zero() || b.is_zero()) return {};
  const auto high = [](U128 x) { return x >> 64; };
  const auto low = [](U128 x) { return static_cast<U128>(static_cast<std::uint64_t>(x)); };
  const U128 middle1 = high(a.significand) * low(b.significand);
  const U128 middle2 = low(a.significand) * high(b.significand);
  const U128 carry = high(low(a.significand) * low(b.significand)) + low(middle1) + low(middle2);
  const U128 product =
      high(a.significand) * high(b.significand) + high(middle1) + high(middle2) + high(carry);
  return normalized_wide(a.sign != b.sign, a.exponent + b.exponent + 1, product);
}

inline Wide operator/(const Wide& a, unsigned divisor) {
  return normalized_wide(a.sign, a.exponent, a.significand / divisor);
}

// The divisor is not zero.
inline Wide operator/(const Wide& a, const Wide& b) {
  if (a.is_zero()) return {};
  bool overflows = false;
  U128 rest = a.significand;
  if (rest >= b.significand) {
    rest >>= 1;  // loses the last bit, which is below the accuracy that is promised
    overflows = true;
  }
  U128 quotient = 0;
  for (int bit = 0; bit < 128; ++bit) {
    const bool carries = rest >> 127 != 0;
    rest <<= 1;
    quotient <<= 1;
    if (carries || rest >= b.significand) {
      rest -= b.significand;
      quotient |= 1;
    }
  }
  return normalized_wide(a.sign != b.sign, a.exponent - b.exponent - (overflows ? 0 : 1), quotient);
}

// To be rounded; what was computed, rather than exact, has something behind its last bit.
inline Exact exactly(const Wide& a) {
  return {a.sign, a.exponent, static_cast<std::uint64_t>(a.significand >> 64),
          static_cast<std::uint64_t>(a.significand)};
}
inline Exact inexactly(const Wide& a) {
  Exact x = exactly(a);
  x.low |= 1;
  return x;
}

}  // namespace cbit::cpu::fp
