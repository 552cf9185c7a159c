#include "cpu/fp/softfloat.hpp"

#include <type_traits>

#include "cpu/fp/operands.hpp"
#include "cpu/fp/rounding.hpp"

namespace cbit::cpu::fp {
namespace {

// Neither is a NaN.
std::strong_ordering order_of_magnitudes(const Unpacked& a, const Unpacked& b) {
  const auto rank = [](Kind kind) { return kind == Kind::zero ? 0 : kind == Kind::infinity ? 2 : 1; };
  if (rank(a.kind) != rank(b.kind)) return rank(a.kind) <=> rank(b.kind);
  if (a.exponent != b.exponent) return a.exponent <=> b.exponent;
  return a.significand <=> b.significand;
}

// An operand that becomes the result: with DAZ, no denormal.
template <Format F>
F selected(F value, const Environment& env) {
  const Unpacked a = value;
  return flushed(a, env).kind == Kind::zero ? zero<F>(a.sign) : value;
}

bool both_normal(const Unpacked& a, const Unpacked& b) {
  return a.kind == Kind::normal && b.kind == Kind::normal;
}

// Of finite numbers that are not zero.
template <Format F>
F add_finite(const Unpacked& a, const Unpacked& b, Environment& env) {
  const bool a_is_larger =
      a.exponent > b.exponent || (a.exponent == b.exponent && a.significand >= b.significand);
  const Unpacked& large = a_is_larger ? a : b;
  const Unpacked& small = a_is_larger ? b : a;
  // One bit is left free for the carry.
  const U128 augend = static_cast<U128>(large.significand) << 63;
  const U128 addend =
      shift_right_sticky(static_cast<U128>(small.significand) << 63, large.exponent - small.exponent);
  const U128 total = a.sign == b.sign ? augend + addend : augend - addend;
  if (total == 0) return zero<F>(env.rounding == RoundingMode::down);
  return round<F>(normalized(large.sign, large.exponent + 1, total), env);
}

template <Format F>
F add_unusual(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (const auto nan = propagated_nan<F>(a, b, env)) return *nan;
  if (a.kind == Kind::infinity && b.kind == Kind::infinity && a.sign != b.sign) {
    return invalid_operation<F>(env);
  }
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  if (a.kind == Kind::infinity) return infinity<F>(a.sign);
  if (b.kind == Kind::infinity) return infinity<F>(b.sign);
  if (a.kind == Kind::zero && b.kind == Kind::zero) {
    return zero<F>(a.sign == b.sign ? a.sign : env.rounding == RoundingMode::down);
  }
  if (a.kind == Kind::zero) return round<F>(exactly(b), env);
  if (b.kind == Kind::zero) return round<F>(exactly(a), env);
  return add_finite<F>(a, b, env);
}

template <Format F>
F multiply_finite(const Unpacked& a, const Unpacked& b, Environment& env) {
  const U128 product = static_cast<U128>(a.significand) * b.significand;
  return round<F>(normalized(a.sign != b.sign, a.exponent + b.exponent + 1, product), env);
}

template <Format F>
F multiply_unusual(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (const auto nan = propagated_nan<F>(a, b, env)) return *nan;
  const bool infinite = a.kind == Kind::infinity || b.kind == Kind::infinity;
  const bool zero_factor = a.kind == Kind::zero || b.kind == Kind::zero;
  if (infinite && zero_factor) return invalid_operation<F>(env);
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  if (infinite) return infinity<F>(a.sign != b.sign);
  if (zero_factor) return zero<F>(a.sign != b.sign);
  return multiply_finite<F>(a, b, env);
}

template <Format F>
F divide_finite(const Unpacked& a, const Unpacked& b, Environment& env) {
  const bool smaller = a.significand < b.significand;
  const U128 dividend = static_cast<U128>(a.significand) << (smaller ? 64 : 63);
  const auto quotient = static_cast<std::uint64_t>(dividend / b.significand);
  const auto rest = static_cast<std::uint64_t>(dividend - static_cast<U128>(quotient) * b.significand);
  // 64 bits of the quotient, and on which side of one half of the last of them the rest is.
  const std::uint64_t complement = b.significand - rest;
  const std::uint64_t low =
      (rest >= complement ? integer_bit : 0) | (rest != 0 && rest != complement ? 1 : 0);
  return round<F>({a.sign != b.sign, a.exponent - b.exponent - (smaller ? 1 : 0), quotient, low}, env);
}

template <Format F>
F divide_unusual(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (const auto nan = propagated_nan<F>(a, b, env)) return *nan;
  if (a.kind == b.kind && (a.kind == Kind::zero || a.kind == Kind::infinity)) {
    return invalid_operation<F>(env);
  }
  const bool sign = a.sign != b.sign;
  if (b.kind == Kind::zero && a.kind != Kind::infinity) {
    env.raise(ze);
    return infinity<F>(sign);
  }
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  if (a.kind == Kind::infinity) return infinity<F>(sign);
  if (a.kind == Kind::zero || b.kind == Kind::infinity) return zero<F>(sign);
  return divide_finite<F>(a, b, env);
}

struct Root {
  std::uint64_t root = 0;
  U128 rest = 0;  // what the root's square lacks
};

// The root of n, which has 2 × Bits bits, not both of the upper two clear. P. Zimmermann, "Karatsuba Square
// Root", INRIA RR-3805: half of the root by itself, the other half by a division.
template <int Bits>
constexpr Root integer_root(U128 n) {
  if constexpr (Bits == 1) {
    return {1, n - 1};
  } else {
    using Word = std::conditional_t<(Bits < 64), std::uint64_t, U128>;
    constexpr int half = Bits / 2;
    constexpr U128 mask = (U128{1} << half) - 1;
    const Root upper = integer_root<half>(n >> Bits);
    const auto dividend = static_cast<Word>(upper.rest << half | (n >> half & mask));
    const auto divisor = static_cast<Word>(2 * static_cast<Word>(upper.root));
    const Word digits = dividend / divisor;
    const U128 minuend = static_cast<U128>(dividend % divisor) << half | (n & mask);
    const U128 subtrahend = static_cast<U128>(digits) * digits;
    // Too large by one at most; unsigned arithmetic gives the right bits all the same.
    const U128 root = (static_cast<U128>(upper.root) << half) + digits;
    if (minuend >= subtrahend) return {static_cast<std::uint64_t>(root), minuend - subtrahend};
    return {static_cast<std::uint64_t>(root - 1), minuend - subtrahend + 2 * root - 1};
  }
}

template <Format F>
F square_root_finite(const Unpacked& a, Environment& env) {
  const int odd = a.exponent & 1;
  const Root result = integer_root<64>(static_cast<U128>(a.significand) << (63 + odd));
  // (root + 1/2)² = root² + root + 1/4, so that a rest above the root means more than a half.
  const std::uint64_t low = (result.rest > result.root ? integer_bit : 0) | (result.rest != 0 ? 1 : 0);
  return round<F>({false, (a.exponent - odd) / 2, result.root, low}, env);
}

}  // namespace

template <Format F>
F add(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (!both_normal(a, b)) [[unlikely]]
    return add_unusual<F>(flushed(a, env), flushed(b, env), env);
  return add_finite<F>(a, b, env);
}

template <Format F>
F subtract(const Unpacked& a, const Unpacked& b, Environment& env) {
  // The sign of a NaN stays: it is no number that could be negated.
  return add<F>(a, b.is_nan() ? b : negated(b), env);
}

template <Format F>
F multiply(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (!both_normal(a, b)) [[unlikely]]
    return multiply_unusual<F>(flushed(a, env), flushed(b, env), env);
  return multiply_finite<F>(a, b, env);
}

template <Format F>
F divide(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (!both_normal(a, b)) [[unlikely]]
    return divide_unusual<F>(flushed(a, env), flushed(b, env), env);
  return divide_finite<F>(a, b, env);
}

template <Format F>
F square_root(const Unpacked& operand, Environment& env) {
  const Unpacked a = flushed(operand, env);
  if (const auto nan = propagated_nan<F>(a, env)) return *nan;
  if (a.kind == Kind::zero) return zero<F>(a.sign);
  if (a.sign) return invalid_operation<F>(env);
  if (a.kind == Kind::infinity) return infinity<F>(false);
  raise_if_denormal(a, env);
  return square_root_finite<F>(a, env);
}

Order compare(const Unpacked& first, const Unpacked& second, Comparison how, Environment& env) {
  const Unpacked a = flushed(first, env);
  const Unpacked b = flushed(second, env);
  if (a.kind >= Kind::quiet_nan || b.kind >= Kind::quiet_nan) {
    if (how == Comparison::ordered || a.kind > Kind::quiet_nan || b.kind > Kind::quiet_nan) {
      env.raise(ie);
    }
    return Order::unordered;
  }
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  if (a.kind == Kind::zero && b.kind == Kind::zero) return Order::equal;
  if (a.sign != b.sign) return a.sign ? Order::less : Order::greater;
  const auto order = order_of_magnitudes(a, b);
  if (order == 0) return Order::equal;
  return (order < 0) != a.sign ? Order::less : Order::greater;
}

template <Format F>
F minimum(F a, F b, Environment& env) {
  return selected(compare(a, b, Comparison::ordered, env) == Order::less ? a : b, env);
}

template <Format F>
F maximum(F a, F b, Environment& env) {
  return selected(compare(a, b, Comparison::ordered, env) == Order::greater ? a : b, env);
}

template Float32 minimum(Float32, Float32, Environment&);
template Float32 maximum(Float32, Float32, Environment&);
template Float64 minimum(Float64, Float64, Environment&);
template Float64 maximum(Float64, Float64, Environment&);

#define CBIT_FOR_FORMAT(F)                                                \
  template F add<F>(const Unpacked&, const Unpacked&, Environment&);      \
  template F subtract<F>(const Unpacked&, const Unpacked&, Environment&); \
  template F multiply<F>(const Unpacked&, const Unpacked&, Environment&); \
  template F divide<F>(const Unpacked&, const Unpacked&, Environment&);   \
  template F square_root<F>(const Unpacked&, Environment&);
CBIT_FOR_FORMAT(Float32)
CBIT_FOR_FORMAT(Float64)
CBIT_FOR_FORMAT(Float80)
#undef CBIT_FOR_FORMAT

}  // namespace cbit::cpu::fp
