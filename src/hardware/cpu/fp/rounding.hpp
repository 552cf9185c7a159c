// From an exact result to a format: what all operations of softfloat end with. Internal to this folder.
#pragma once

#include "cpu/fp/environment.hpp"
#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp {

using U128 = unsigned __int128;

// A number that is not zero: high:low × 2^(exponent − 127), high's top bit set. The lowest bit of low also
// stands for everything below it.
struct Exact {
  bool sign = false;
  int exponent = 0;
  std::uint64_t high = 0;
  std::uint64_t low = 0;
};

inline Exact exactly(const Unpacked& a) { return {a.sign, a.exponent, a.significand, 0}; }

// significand × 2^(exponent − 127), which is not zero.
inline Exact normalized(bool sign, int exponent, U128 significand) {
  const auto high = static_cast<std::uint64_t>(significand >> 64);
  const int zeros =
      high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<std::uint64_t>(significand));
  significand <<= zeros;
  return {sign, exponent - zeros, static_cast<std::uint64_t>(significand >> 64),
          static_cast<std::uint64_t>(significand)};
}

// Shifts right; what leaves at the right stays visible in the lowest bit.
constexpr U128 shift_right_sticky(U128 value, int count) {
  if (count == 0) return value;
  if (count > 127) return value != 0 ? 1 : 0;
  return value >> count | ((value << (128 - count)) != 0 ? 1 : 0);
}

struct RoundedSignificand {
  std::uint64_t kept = 0;
  bool carried = false;  // kept was all ones, and is now the integer bit alone
  bool inexact = false;
  bool up = false;
};

// Keeps the upper `bits` of 64 (1 to 64).
constexpr RoundedSignificand round_significand(std::uint64_t high, std::uint64_t low, int bits,
                                               RoundingMode mode, bool sign) {
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  const std::uint64_t tail = bits == 64 ? low : high << bits | (low != 0 ? 1 : 0);
  const std::uint64_t last = std::uint64_t{1} << (64 - bits);
  RoundedSignificand result{.kept = high & ~(last - 1), .inexact = tail != 0};
  switch (mode) {
    case RoundingMode::nearest: result.up = tail > half || (tail == half && (high & last) != 0); break;
    case RoundingMode::down: result.up = sign && tail != 0; break;
    case RoundingMode::up: result.up = !sign && tail != 0; break;
    case RoundingMode::zero: break;
  }
  if (result.up) {
    result.kept += last;
    result.carried = result.kept == 0;
    if (result.carried) result.kept = integer_bit;
  }
  return result;
}

// What unmasked overflow and underflow add to or subtract from an exponent in extended precision: SDM vol. 1,
// 8.5.4, 8.5.5.
inline constexpr int exponent_scale = 24576;

inline void note_rounding(const RoundedSignificand& rounded, Environment& env) {
  if (!rounded.inexact) return;
  env.raise(pe);
  env.rounded_up = rounded.up;
}

template <Format F>
int significand_bits(const Environment& env) {
  if constexpr (std::same_as<F, Float80>) return env.significand_bits;
  return F::precision;
}

template <Format F>
F overflowed(const Exact& x, const RoundedSignificand& rounded, int exponent, Environment& env) {
  env.raise(oe);
  if ((env.masked & oe) == 0) {
    note_rounding(rounded, env);
    if (!std::same_as<F, Float80>) return F{};
    if (exponent - exponent_scale > F::exponent_max) {  // FSCALE only
      note_rounding({.inexact = true, .up = true}, env);
      return infinity<F>(x.sign);
    }
    return pack<F>(x.sign, exponent - exponent_scale + exponent_bias<F>, rounded.kept);
  }
  env.raise(pe);
  const RoundingMode away = x.sign ? RoundingMode::down : RoundingMode::up;
  env.rounded_up = env.rounding == RoundingMode::nearest || env.rounding == away;
  return env.rounded_up ? infinity<F>(x.sign) : largest<F>(x.sign, significand_bits<F>(env));
}

template <Format F>
F underflowed(const Exact& x, const RoundedSignificand& rounded, int exponent, Environment& env) {
  if ((env.masked & ue) == 0) {
    env.raise(ue);
    note_rounding(rounded, env);
    if (!std::same_as<F, Float80>) return F{};
    if (exponent + exponent_scale < exponent_min<F>) {  // FSCALE only
      note_rounding({.inexact = true}, env);
      return zero<F>(x.sign);
    }
    return pack<F>(x.sign, exponent + exponent_scale + exponent_bias<F>, rounded.kept);
  }
  if (env.flush_to_zero) {
    env.raise(ue | pe);
    return zero<F>(x.sign);
  }
  const U128 shifted =
      shift_right_sticky(static_cast<U128>(x.high) << 64 | x.low, exponent_min<F> - x.exponent);
  const RoundedSignificand tiny =
      round_significand(static_cast<std::uint64_t>(shifted >> 64), static_cast<std::uint64_t>(shifted),
                        significand_bits<F>(env), env.rounding, x.sign);
  if (tiny.inexact) env.raise(ue);
  note_rounding(tiny, env);
  return pack<F>(x.sign, static_cast<int>(tiny.kept >> 63), tiny.kept);
}

// Tininess is detected after rounding: SDM vol. 1, 4.9.1.5.
template <Format F>
F round(const Exact& x, Environment& env) {
  if (env.unmasked() != 0) [[unlikely]]
    return F{};
  const RoundedSignificand rounded =
      round_significand(x.high, x.low, significand_bits<F>(env), env.rounding, x.sign);
  const int exponent = x.exponent + (rounded.carried ? 1 : 0);
  if (exponent > F::exponent_max) [[unlikely]]
    return overflowed<F>(x, rounded, exponent, env);
  if (exponent < exponent_min<F>) [[unlikely]]
    return underflowed<F>(x, rounded, exponent, env);
  note_rounding(rounded, env);
  return pack<F>(x.sign, exponent + exponent_bias<F>, rounded.kept);
}

// The few operations of x87 that precision control leaves alone: SDM vol. 1, 8.1.5.2.
inline Float80 round_to_full_precision(const Exact& x, Environment& env) {
  const std::uint8_t controlled = env.significand_bits;
  env.significand_bits = Float80::precision;
  const Float80 result = round<Float80>(x, env);
  env.significand_bits = controlled;
  return result;
}

}  // namespace cbit::cpu::fp
