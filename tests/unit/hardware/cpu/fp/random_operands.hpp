// Operands of which a good part sits where rules change: zeros, denormals, infinities, NaNs, halves of a unit
// of the last place, the ends of the exponent's range, integers, neighbours of each other.
#pragma once

#include "base/random.hpp"
#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp::test {

// Few bits set, few bits clear, a run of ones, or anything.
inline std::uint64_t random_pattern(Random& random) {
  const std::uint64_t any = random.next();
  const auto shift = static_cast<int>(random.below(64));
  switch (random.below(6)) {
    case 0: return std::uint64_t{1} << shift;
    case 1: return ~std::uint64_t{0} << shift;
    case 2: return ~std::uint64_t{0} >> shift;
    case 3: return any << shift;
    case 4: return (any << shift) ^ (std::uint64_t{1} << random.below(64));
    default: return any;
  }
}

// A biased exponent: near the ends, near the bias, near `other`, or any.
inline int random_exponent(Random& random, int exponent_max, int other) {
  const int all_ones = 2 * exponent_max + 1;
  const auto small = static_cast<int>(random.below(4));
  const auto spread = static_cast<int>(random.below(140)) - 70;
  int exponent = 0;
  switch (random.below(8)) {
    case 0: exponent = 0; break;
    case 1: exponent = all_ones; break;
    case 2: exponent = small; break;
    case 3: exponent = all_ones - small; break;
    case 4: exponent = exponent_max + spread; break;
    case 5: exponent = other + spread; break;
    case 6: exponent = other; break;
    default: exponent = static_cast<int>(random.below(static_cast<std::uint64_t>(all_ones) + 1)); break;
  }
  return exponent < 0 ? 0 : exponent > all_ones ? all_ones : exponent;
}

inline Float80 random_float80(Random& random, int other = 16383) {
  const int exponent = random_exponent(random, 16383, other);
  std::uint64_t significand = random_pattern(random);
  // Unsupported encodings are rare enough to leave room for the rest.
  if (exponent != 0 && random.below(16) != 0) significand |= integer_bit;
  if (exponent == 0x7fff && random.below(2) == 0) significand = integer_bit;
  if (exponent == 0 && random.below(2) == 0) significand = 0;
  return {significand, static_cast<std::uint16_t>(exponent | (random.below(2) << 15))};
}

template <class F>
F random_float(Random& random, int other = F::exponent_max) {
  constexpr int fraction_bits = F::precision - 1;
  using Bits = typename F::Bits;
  const int exponent = random_exponent(random, F::exponent_max, other);
  auto fraction = static_cast<Bits>(random_pattern(random)) & ((Bits{1} << fraction_bits) - 1);
  if (random.below(8) == 0) fraction = 0;
  const auto sign = static_cast<Bits>(random.below(2));
  return {static_cast<Bits>(sign << (8 * sizeof(Bits) - 1) | static_cast<Bits>(exponent) << fraction_bits |
                            fraction)};
}

template <class F>
int biased_exponent(F value) {
  return static_cast<int>(value.bits >> (F::precision - 1)) & (2 * F::exponent_max + 1);
}
inline int biased_exponent(Float80 value) { return value.sign_exponent & 0x7fff; }

}  // namespace cbit::cpu::fp::test
