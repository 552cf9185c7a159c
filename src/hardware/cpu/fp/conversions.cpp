// Conversions between formats, to and from integers and packed decimals.
#include "cpu/fp/operands.hpp"
#include "cpu/fp/rounding.hpp"
#include "cpu/fp/softfloat.hpp"

namespace cbit::cpu::fp {
namespace {

struct Integral {
  std::uint64_t magnitude = 0;
  RoundedSignificand rounding;
};

// Of a finite number below 2^64.
Integral integral_part(const Unpacked& a, RoundingMode mode) {
  if (a.kind == Kind::zero) return {};
  const U128 shifted = shift_right_sticky(static_cast<U128>(a.significand) << 64, 63 - a.exponent);
  const RoundedSignificand rounded = round_significand(static_cast<std::uint64_t>(shifted >> 64),
                                                       static_cast<std::uint64_t>(shifted), 64, mode, a.sign);
  return {rounded.kept, rounded};
}

template <Format F>
F integer_to_float(const Unpacked& a, Environment& env) {
  if (a.kind == Kind::zero) return zero<F>(false);
  if constexpr (std::same_as<F, Float80>) {
    return pack<F>(a.sign, a.exponent + exponent_bias<F>, a.significand);
  } else {
    return round<F>(exactly(a), env);
  }
}

constexpr std::uint64_t decimal_limit = 1'000'000'000'000'000'000;

}  // namespace

template <Format To, Format From>
To convert(From value, Environment& env) {
  const Unpacked a = flushed(value, env);
  if (const auto nan = propagated_nan<To>(a, env)) return *nan;
  if (a.kind == Kind::infinity) return infinity<To>(a.sign);
  if (a.kind == Kind::zero) return zero<To>(a.sign);
  if constexpr (!std::same_as<From, Float80>) raise_if_denormal(a, env);
  if constexpr (std::same_as<To, Float80>) {
    return pack<To>(a.sign, a.exponent + exponent_bias<To>, a.significand);  // exact, whatever the precision
  } else {
    return round<To>(exactly(a), env);
  }
}
template Float64 convert(Float32, Environment&);
template Float32 convert(Float64, Environment&);
template Float80 convert(Float32, Environment&);
template Float80 convert(Float64, Environment&);
template Float32 convert(Float80, Environment&);
template Float64 convert(Float80, Environment&);

std::int64_t to_integer(const Unpacked& operand, int bits, RoundingMode mode, Environment& env) {
  const std::uint64_t limit = std::uint64_t{1} << (bits - 1);
  const auto indefinite_integer = static_cast<std::int64_t>(0 - limit);
  const Unpacked a = flushed(operand, env);
  if (!a.is_finite() || (a.kind != Kind::zero && a.exponent > 63)) {
    env.raise(ie);
    return indefinite_integer;
  }
  const Integral integral = integral_part(a, mode);
  if (integral.rounding.carried || integral.magnitude > limit - (a.sign ? 0 : 1)) {
    env.raise(ie);
    return indefinite_integer;
  }
  note_rounding(integral.rounding, env);
  return static_cast<std::int64_t>(a.sign ? 0 - integral.magnitude : integral.magnitude);
}

template <Format F>
F from_integer(std::int64_t value, Environment& env) {
  return integer_to_float<F>(Unpacked::from_integer(value), env);
}
template Float32 from_integer(std::int64_t, Environment&);
template Float64 from_integer(std::int64_t, Environment&);
template Float80 from_integer(std::int64_t, Environment&);

template <Format F>
F round_to_integral(F value, RoundingMode mode, Environment& env) {
  const Unpacked a = flushed(value, env);
  if (const auto nan = propagated_nan<F>(a, env)) return *nan;
  if (a.kind == Kind::zero) return zero<F>(a.sign);
  if constexpr (std::same_as<F, Float80>) raise_if_denormal(a, env);
  if (env.unmasked() != 0) return value;
  if (a.kind == Kind::infinity || a.exponent >= F::precision - 1) return value;
  const Integral integral = integral_part(a, mode);
  note_rounding(integral.rounding, env);
  if (integral.magnitude == 0) return zero<F>(a.sign);
  const int zeros = std::countl_zero(integral.magnitude);
  return pack<F>(a.sign, 63 - zeros + exponent_bias<F>, integral.magnitude << zeros);
}
template Float32 round_to_integral(Float32, RoundingMode, Environment&);
template Float64 round_to_integral(Float64, RoundingMode, Environment&);
template Float80 round_to_integral(Float80, RoundingMode, Environment&);

Float80 from_packed_decimal(const PackedDecimal& value) {
  std::uint64_t magnitude = 0;
  for (int byte = 8; byte >= 0; --byte) {
    const std::uint8_t digits = value[static_cast<std::size_t>(byte)];
    magnitude = magnitude * 100 + (digits >> 4) * 10u + (digits & 0xf);
  }
  const bool sign = value[9] >> 7 != 0;
  if (magnitude == 0) return zero<Float80>(sign);
  const int zeros = std::countl_zero(magnitude);
  return pack<Float80>(sign, 63 - zeros + exponent_bias<Float80>, magnitude << zeros);
}

PackedDecimal to_packed_decimal(const Unpacked& a, Environment& env) {
  if (!a.is_finite() || (a.kind != Kind::zero && a.exponent > 62)) {
    env.raise(ie);
    return packed_decimal_indefinite;
  }
  const Integral integral = integral_part(a, env.rounding);
  if (integral.magnitude >= decimal_limit) {
    env.raise(ie);
    return packed_decimal_indefinite;
  }
  note_rounding(integral.rounding, env);
  PackedDecimal result{};
  std::uint64_t rest = integral.magnitude;
  for (std::size_t byte = 0; byte < 9; ++byte, rest /= 100) {
    result[byte] = static_cast<std::uint8_t>(rest / 10 % 10 << 4 | rest % 10);
  }
  result[9] = a.sign ? 0x80 : 0;
  return result;
}

}  // namespace cbit::cpu::fp
