// Operations that only x87 has: scaling, extraction, remainders.
#include "cpu/fp/operands.hpp"
#include "cpu/fp/rounding.hpp"
#include "cpu/fp/softfloat.hpp"

namespace cbit::cpu::fp {
namespace {

// The result of scaling by more than this is out of range, whatever the other operand.
constexpr int scale_limit = 0x10000;

int scale_count(const Unpacked& b) {
  if (b.kind == Kind::zero || b.exponent < 0) return 0;
  const int count = b.exponent > 15 ? scale_limit : static_cast<int>(b.significand >> (63 - b.exponent));
  return b.sign ? -count : count;
}

Float80 unchanged(const Unpacked& a, Environment& env) {
  return a.kind == Kind::zero ? zero<Float80>(a.sign) : round_to_full_precision(exactly(a), env);
}

struct Division {
  Exact rest;  // zero if its high part is
  std::uint64_t quotient = 0;
};

// Finite numbers that are not zero; a is at most 2^64 times b, and at least a quarter of it.
Division divide_with_rest(const Unpacked& a, const Unpacked& b, Quotient how) {
  const U128 dividend = static_cast<U128>(a.significand) << (a.exponent - b.exponent + 1);
  const U128 divisor = static_cast<U128>(b.significand) << 1;
  auto quotient = static_cast<std::uint64_t>(dividend / divisor);
  U128 rest = dividend % divisor;
  bool sign = a.sign;
  const U128 complement = divisor - rest;
  if (how == Quotient::nearest && (rest > complement || (rest == complement && (quotient & 1) != 0))) {
    rest = complement;
    sign = !sign;
    ++quotient;
  }
  if (rest == 0) return {{.sign = a.sign}, quotient};
  return {normalized(sign, b.exponent + 63, rest), quotient};
}

// How far one step of a partial remainder brings the exponents together; any number from 32 to 63 may be:
// SDM vol. 2, FPREM.
int partial_step(int distance) { return 32 + distance % 32; }

}  // namespace

Float80 scale(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(a, b, env)) return *nan;
  const bool to_infinity = b.kind == Kind::infinity && !b.sign;
  const bool to_zero = b.kind == Kind::infinity && b.sign;
  if ((to_infinity && a.kind == Kind::zero) || (to_zero && a.kind == Kind::infinity)) {
    return invalid_operation<Float80>(env);
  }
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  if (a.kind == Kind::infinity || to_infinity) return infinity<Float80>(a.sign);
  if (a.kind == Kind::zero || to_zero) return zero<Float80>(a.sign);
  Exact scaled = exactly(a);
  scaled.exponent += scale_count(b);
  return round_to_full_precision(scaled, env);
}

Extracted extract(const Unpacked& a, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(a, env)) return {*nan, *nan};
  if (a.kind == Kind::infinity) return {infinity<Float80>(false), infinity<Float80>(a.sign)};
  if (a.kind == Kind::zero) {
    env.raise(ze);
    return {infinity<Float80>(true), zero<Float80>(a.sign)};
  }
  raise_if_denormal(a, env);
  return {from_integer<Float80>(a.exponent, env),
          pack<Float80>(a.sign, exponent_bias<Float80>, a.significand)};
}

Remainder remainder(const Unpacked& a, const Unpacked& b, Quotient how, Environment& env) {
  if (const auto nan = propagated_nan<Float80>(a, b, env)) return {*nan};
  if (a.kind == Kind::infinity || b.kind == Kind::zero) return {invalid_operation<Float80>(env)};
  raise_if_denormal(a, env);
  raise_if_denormal(b, env);
  const int distance = a.exponent - b.exponent;
  if (a.kind == Kind::zero || b.kind == Kind::infinity || distance < -1) {
    return {unchanged(a, env), false, std::uint8_t{0}};
  }

  const int held_back = distance < 64 ? 0 : distance - partial_step(distance);
  Unpacked dividend = a;
  dividend.exponent -= held_back;
  Division division = divide_with_rest(dividend, b, held_back == 0 ? how : Quotient::truncated);
  division.rest.exponent += held_back;
  const Float80 value = division.rest.high == 0 ? zero<Float80>(division.rest.sign)
                                                : round_to_full_precision(division.rest, env);
  if (held_back != 0) return {value, true, std::uint8_t{0}};
  return {value, false, static_cast<std::uint8_t>(division.quotient & 7)};
}

}  // namespace cbit::cpu::fp
