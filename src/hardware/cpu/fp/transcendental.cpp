#include "cpu/fp/transcendental.hpp"

#include "cpu/fp/operands.hpp"
#include "cpu/fp/wide.hpp"

namespace cbit::cpu::fp {
namespace {

constexpr Wide ln_2 = Wide::constant(-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af);
constexpr Wide log2_e = Wide::constant(0, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88);
constexpr Wide half_pi = Wide::constant(0, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
constexpr Wide whole_pi = Wide::constant(1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
constexpr U128 sqrt_2 = static_cast<U128>(0xb504f333f9de6484) << 64;  // as a significand, roughly

// arctan(k/4).
constexpr Wide arc_tangent_of_quarters[] = {
    {},
    Wide::constant(-3, 0xfadbafc96406eb15, 0x6dc79ef5f7a217e5),
    Wide::constant(-2, 0xed63382b0dda7b45, 0x6fe445ecbc3a8d03),
    Wide::constant(-1, 0xa4bc7d1934f70924, 0x19a87f2a457dac9e),
    Wide::constant(-1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1),
};

Unpacked magnitude(Unpacked a) {
  a.sign = false;
  return a;
}

Float80 rounded(const Wide& value, Environment& env) {
  return round_to_full_precision(inexactly(value), env);
}

// u + s·u³/3 + u⁵/5 + s·u⁷/7 …: artanh(u) with s = 1, arctan(u) with s = −1. Enough terms for |u| < 0.18.
Wide odd_power_series(const Wide& u, bool alternating) {
  constexpr unsigned last_power = 53;
  const Wide square = alternating ? -(u * u) : u * u;
  Wide sum = Wide{1} / last_power;
  for (unsigned power = last_power; power > 1; power -= 2) sum = Wide{1} / (power - 2) + square * sum;
  return u * sum;
}

// e^u − 1 = u·(1 + u/2·(1 + u/3·(…))), for |u| < 0.7.
Wide exponential_series(const Wide& u) {
  constexpr unsigned terms = 32;
  Wide sum{1};
  for (unsigned n = terms; n >= 2; --n) sum = Wide{1} + u * sum / n;
  return u * sum;
}

// 1 − r²/(first·(first+1))·(1 − …): cos r with first = 1, sin(r)/r with first = 2; for |r| < 0.8.
Wide trigonometric_series(const Wide& r, unsigned first) {
  constexpr unsigned terms = 18;
  const Wide square = -(r * r);
  Wide sum{1};
  for (unsigned n = terms; n >= 1; --n) {
    const unsigned k = first + 2 * (n - 1);
    sum = Wide{1} + square * sum / (k * (k + 1));
  }
  return sum;
}

// arctan of short/long, both positive, for the angle of (x, y).
Wide arc_tangent_of_ratio(const Wide& x, const Wide& y) {
  const bool steep = y.exponent > x.exponent || (y.exponent == x.exponent && y.significand > x.significand);
  const Wide ratio = steep ? x / y : y / x;
  // The nearest of the multiples of 1/4.
  const Wide eighths = ratio * Wide{8};
  const auto whole =
      eighths.exponent < 0 ? 0u : static_cast<unsigned>(eighths.significand >> (127 - eighths.exponent));
  const unsigned quarters = (whole + 1) / 2;
  const Wide center = Wide{static_cast<int>(quarters)} / 4u;
  const Wide angle = arc_tangent_of_quarters[quarters] +
                     odd_power_series((ratio - center) / (Wide{1} + ratio * center), true);
  return steep ? half_pi - angle : angle;
}

// log2 of a positive number. Exact for powers of two.
Wide binary_logarithm(const Wide& x) {
  const bool above = x.significand > sqrt_2;
  const Wide mantissa{false, above ? -1 : 0, x.significand};
  const Wide u = (mantissa - Wide{1}) / (mantissa + Wide{1});
  const Wide fraction = odd_power_series(u, false) * log2_e * Wide{2};
  return Wide{x.exponent + (above ? 1 : 0)} + fraction;
}

bool is_power_of_two(const Unpacked& x) { return x.significand == integer_bit; }

// An exact result that is reported as if it were not.
Float80 rounded_exact(const Wide& value, Environment& env) {
  const Float80 result = round_to_full_precision(exactly(value), env);
  if ((env.unmasked() & precomputation) == 0) env.raise((result.sign_exponent & 0x7fff) == 0 ? ue | pe : pe);
  return result;
}

// y·log2(x) where that needs no logarithm; x is not negative, no operand is a NaN.
Float80 logarithm_of_limits(const Unpacked& x, const Unpacked& y, Environment& env) {
  const bool x_is_one = x.is_finite() && x.exponent == 0 && is_power_of_two(x);
  if ((y.kind == Kind::zero && x.kind == Kind::infinity) || (y.kind == Kind::zero && x.kind == Kind::zero) ||
      (y.kind == Kind::infinity && x_is_one)) {
    return invalid_operation<Float80>(env);
  }
  const bool below_one = x.kind == Kind::zero || (x.is_finite() && x.exponent < 0);
  if (x.kind == Kind::zero && y.kind != Kind::infinity) {
    env.raise(ze);
    return infinity<Float80>(!y.sign);
  }
  raise_if_denormal(x, env);
  raise_if_denormal(y, env);
  if (x.kind == Kind::infinity || y.kind == Kind::infinity) return infinity<Float80>(y.sign != below_one);
  return zero<Float80>(y.sign != below_one);
}

struct Reduced {
  Wide rest;              // at most π/4
  unsigned quadrant = 0;  // how often π/2 was subtracted, modulo 4
};

// π/2 to 66 bits, in units of 2^−67: SDM vol. 1, 8.3.8.
constexpr U128 short_half_pi = static_cast<U128>(0xc) << 64 | 0x90fdaa22168c234c;

Reduced reduce_by_half_pi(const Unpacked& x) {
  constexpr int unit = -67;
  if (x.exponent < -1) return {Wide{x}, 0};
  U128 rest = x.significand;
  unsigned quadrant = 0;
  for (int bits = x.exponent - 63 - unit; bits > 0; --bits) {
    rest <<= 1;
    quadrant <<= 1;
    if (rest < short_half_pi) continue;
    rest -= short_half_pi;
    quadrant |= 1;
  }
  const bool beyond_half = rest > short_half_pi - rest;
  if (beyond_half) rest = short_half_pi - rest;
  const Wide reduced = normalized_wide(x.sign != beyond_half, unit + 127, rest);
  quadrant += beyond_half ? 1 : 0;
  return {reduced, (x.sign ? 0 - quadrant : quadrant) & 3};
}

// The sine of the rest and `quadrant` times π/2.
Wide sine_of(const Reduced& reduced, unsigned quadrant) {
  const Wide value = (quadrant & 1) != 0 ? trigonometric_series(reduced.rest, 1)
                                         : reduced.rest * trigonometric_series(reduced.rest, 2);
  return (quadrant & 2) != 0 ? -value : value;
}

}  // namespace

Float80 exponential_minus_one(const Unpacked& x, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, env)) return *nan;
  if (x.kind == Kind::zero) return zero<Float80>(x.sign);
  if (x.kind == Kind::infinity) {
    return x.sign ? pack<Float80>(true, exponent_bias<Float80>, integer_bit) : infinity<Float80>(false);
  }
  raise_if_denormal(x, env);
  if (x.exponent >= 0) {
    if (x.exponent == 0 && is_power_of_two(x)) return rounded_exact(x.sign ? Wide{-1} / 2u : Wide{1}, env);
    return rounded_exact(Wide{x}, env);  // undefined
  }
  return rounded(exponential_series(Wide{x} * ln_2), env);
}

Float80 logarithm(const Unpacked& x, const Unpacked& y, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, y, env)) return *nan;
  if (x.sign && x.kind != Kind::zero) return invalid_operation<Float80>(env);
  if (x.kind == Kind::zero || y.kind == Kind::zero || !x.is_finite() || !y.is_finite()) {
    return logarithm_of_limits(x, y, env);
  }
  raise_if_denormal(x, env);
  raise_if_denormal(y, env);
  const Wide product = binary_logarithm(Wide{x}) * Wide{y};
  if (product.is_zero()) return zero<Float80>(y.sign);
  return is_power_of_two(x) ? rounded_exact(product, env) : rounded(product, env);
}

Float80 logarithm_plus_one(const Unpacked& x, const Unpacked& y, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, y, env)) return *nan;
  if (x.kind == Kind::zero && y.kind == Kind::infinity) return invalid_operation<Float80>(env);
  if (x.kind == Kind::infinity && (x.sign || y.kind == Kind::zero)) return invalid_operation<Float80>(env);
  raise_if_denormal(x, env);
  raise_if_denormal(y, env);
  const bool sign = x.sign != y.sign;
  if (x.kind == Kind::infinity || y.kind == Kind::infinity) return infinity<Float80>(sign);
  if (x.kind == Kind::zero || y.kind == Kind::zero) return zero<Float80>(sign);
  if (x.sign && x.exponent >= 0) return rounded_exact(Wide{x}, env);  // undefined
  const Wide argument{x};
  if (x.exponent >= -2) {
    const Wide sum = argument + Wide{1};
    const Wide product = binary_logarithm(sum) * Wide{y};
    const bool is_exact = sum.significand == static_cast<U128>(integer_bit) << 64;
    return is_exact ? rounded_exact(product, env) : rounded(product, env);
  }
  // log2(1 + x) = 2·artanh(x / (2 + x)) / ln 2.
  const Wide u = argument / (argument + Wide{2});
  return rounded(odd_power_series(u, false) * log2_e * Wide{2} * Wide{y}, env);
}

Float80 arc_tangent(const Unpacked& x, const Unpacked& y, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, y, env)) return *nan;
  raise_if_denormal(x, env);
  raise_if_denormal(y, env);
  const bool x_is_short = x.kind == Kind::zero || (x.is_finite() && y.kind == Kind::infinity);
  const bool y_is_short = y.kind == Kind::zero || (y.is_finite() && x.kind == Kind::infinity);
  Wide angle;  // of |x| and |y|
  if (y_is_short) {
    if (!x.sign) return zero<Float80>(y.sign);
  } else if (x_is_short) {
    angle = half_pi;
  } else if (x.kind == Kind::infinity) {
    angle = arc_tangent_of_quarters[4];
  } else {
    angle = arc_tangent_of_ratio(Wide{magnitude(x)}, Wide{magnitude(y)});
  }
  if (x.sign) angle = whole_pi - angle;
  return rounded(y.sign ? -angle : angle, env);
}

bool is_out_of_trigonometric_range(const Unpacked& x) { return x.is_finite() && x.exponent >= 63; }

Float80 sine(const Unpacked& x, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, env)) return *nan;
  if (x.kind == Kind::infinity) return invalid_operation<Float80>(env);
  if (x.kind == Kind::zero) return zero<Float80>(x.sign);
  raise_if_denormal(x, env);
  const Reduced reduced = reduce_by_half_pi(x);
  return rounded(sine_of(reduced, reduced.quadrant), env);
}

Float80 cosine(const Unpacked& x, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, env)) return *nan;
  if (x.kind == Kind::infinity) return invalid_operation<Float80>(env);
  if (x.kind == Kind::zero) return pack<Float80>(false, exponent_bias<Float80>, integer_bit);
  raise_if_denormal(x, env);
  const Reduced reduced = reduce_by_half_pi(x);
  return rounded(sine_of(reduced, reduced.quadrant + 1), env);
}

Float80 tangent(const Unpacked& x, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(x, env)) return *nan;
  if (x.kind == Kind::infinity) return invalid_operation<Float80>(env);
  if (x.kind == Kind::zero) return zero<Float80>(x.sign);
  raise_if_denormal(x, env);
  const Reduced reduced = reduce_by_half_pi(x);
  return rounded(sine_of(reduced, reduced.quadrant) / sine_of(reduced, reduced.quadrant + 1), env);
}

}  // namespace cbit::cpu::fp
