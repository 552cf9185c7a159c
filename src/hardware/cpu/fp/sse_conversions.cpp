// Conversions between floats and integers, and rounding to integral values.
#include <algorithm>
#include <type_traits>

#include "cpu/fp/softfloat.hpp"
#include "cpu/fp/sse_lane_environment.hpp"
#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

// --- Lanes.

template <class To, class From>
To float_to_float(From value, Environment& env) {
  return convert<To>(value, env);
}
template <class F>
F integer_to_lane(I32 value, Environment& env) {
  return from_integer<F>(value, env);
}
template <class F, class Integer>
Integer lane_to_integer(F value, Environment& env) {
  return static_cast<Integer>(to_integer(value, 8 * sizeof(Integer), env.rounding, env));
}
template <class F, class Integer>
Integer lane_truncated(F value, Environment& env) {
  return static_cast<Integer>(to_integer(value, 8 * sizeof(Integer), RoundingMode::zero, env));
}

// --- Shapes.

// As many lanes as both types have room for; the rest of the result is zero, or Keep: the first operand's.
template <class From, class To, auto Function, bool Keep = false, std::size_t Most = 4>
Vec128 packed_conversion(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  const auto from = src.as<From>();
  auto result = (Keep ? dst : Vec128{}).as<To>();
  constexpr std::size_t count = std::min({from.size(), result.size(), Most});
  SseLanes lanes{context};
  for (std::size_t i = 0; i < count; ++i) {
    result[i] = lanes.run([&](Environment& env) { return Function(from[i], env); });
  }
  return lanes.finish() ? Vec128::of(result) : dst;
}

template <class From, class To, auto Function>
Vec128 scalar_conversion(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  SseLanes lanes{context};
  const To result = lanes.run([&](Environment& env) { return Function(src.lane<From>(0), env); });
  return lanes.finish() ? dst.with(0, result) : dst;
}

template <class F, class Integer, auto Function>
Vec128 to_general(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  SseLanes lanes{context};
  const Integer result = lanes.run([&](Environment& env) { return Function(src.lane<F>(0), env); });
  return lanes.finish() ? general(static_cast<std::make_unsigned_t<Integer>>(result)) : dst;
}

// ROUNDPS: imm[1:0] is the rounding mode unless imm[2] chooses MXCSR's; imm[3] suppresses the precision
// exception.
template <class F, bool Scalar>
Vec128 rounded_lanes(const Vec128& dst, const Vec128& src, U8 imm, SseContext& context) {
  auto result = Scalar ? dst.as<F>() : src.as<F>();
  SseLanes lanes{context};
  const auto mode = (imm & 4) != 0 ? lanes.rounding() : static_cast<RoundingMode>(imm & 3);
  for (std::size_t i = 0; i < (Scalar ? 1 : result.size()); ++i) {
    result[i] = lanes.run([&](Environment& env) {
      const F value = round_to_integral(src.lane<F>(i), mode, env);
      if ((imm & 8) != 0) env.raised &= static_cast<Exceptions>(~pe);
      return value;
    });
  }
  return lanes.finish() ? Vec128::of(result) : dst;
}

template <class F, class Integer>
constexpr SseRow to_integer_row(SseOp op, std::string_view name) {
  return {op, name, to_general<F, Integer, lane_to_integer<F, Integer>>, nullptr, SseResult::general};
}
template <class F, class Integer>
constexpr SseRow truncating_row(SseOp op, std::string_view name) {
  return {op, name, to_general<F, Integer, lane_truncated<F, Integer>>, nullptr, SseResult::general};
}

using Op = SseOp;

constexpr SseRow conversion_rows[] = {
    {Op::roundps, "roundps", rounded_lanes<Float32, false>},
    {Op::roundss, "roundss", rounded_lanes<Float32, true>},
    {Op::roundpd, "roundpd", rounded_lanes<Float64, false>},
    {Op::roundsd, "roundsd", rounded_lanes<Float64, true>},

    {Op::cvtps2pd, "cvtps2pd", packed_conversion<Float32, Float64, float_to_float<Float64, Float32>>},
    {Op::cvtpd2ps, "cvtpd2ps", packed_conversion<Float64, Float32, float_to_float<Float32, Float64>>},
    {Op::cvtss2sd, "cvtss2sd", scalar_conversion<Float32, Float64, float_to_float<Float64, Float32>>},
    {Op::cvtsd2ss, "cvtsd2ss", scalar_conversion<Float64, Float32, float_to_float<Float32, Float64>>},
    {Op::cvtdq2ps, "cvtdq2ps", packed_conversion<I32, Float32, integer_to_lane<Float32>>},
    {Op::cvtdq2pd, "cvtdq2pd", packed_conversion<I32, Float64, integer_to_lane<Float64>>},
    {Op::cvtps2dq, "cvtps2dq", packed_conversion<Float32, I32, lane_to_integer<Float32, I32>>},
    {Op::cvttps2dq, "cvttps2dq", packed_conversion<Float32, I32, lane_truncated<Float32, I32>>},
    {Op::cvtpd2dq, "cvtpd2dq", packed_conversion<Float64, I32, lane_to_integer<Float64, I32>>},
    {Op::cvttpd2dq, "cvttpd2dq", packed_conversion<Float64, I32, lane_truncated<Float64, I32>>},

    {Op::cvtsi2ss, "cvtsi2ss", scalar_conversion<I32, Float32, from_integer<Float32>>},
    {Op::cvtsi2sd, "cvtsi2sd", scalar_conversion<I32, Float64, from_integer<Float64>>},
    {Op::cvtsi2ss_q, "cvtsi2ss", scalar_conversion<I64, Float32, from_integer<Float32>>},
    {Op::cvtsi2sd_q, "cvtsi2sd", scalar_conversion<I64, Float64, from_integer<Float64>>},
    to_integer_row<Float32, I32>(Op::cvtss2si, "cvtss2si"),
    truncating_row<Float32, I32>(Op::cvttss2si, "cvttss2si"),
    to_integer_row<Float64, I32>(Op::cvtsd2si, "cvtsd2si"),
    truncating_row<Float64, I32>(Op::cvttsd2si, "cvttsd2si"),
    to_integer_row<Float32, I64>(Op::cvtss2si_q, "cvtss2si"),
    truncating_row<Float32, I64>(Op::cvttss2si_q, "cvttss2si"),
    to_integer_row<Float64, I64>(Op::cvtsd2si_q, "cvtsd2si"),
    truncating_row<Float64, I64>(Op::cvttsd2si_q, "cvttsd2si"),

    {Op::cvtpi2ps, "cvtpi2ps", packed_conversion<I32, Float32, integer_to_lane<Float32>, true, 2>},
    {Op::cvtpi2pd, "cvtpi2pd", packed_conversion<I32, Float64, integer_to_lane<Float64>>},
    {Op::cvtps2pi, "cvtps2pi", packed_conversion<Float32, I32, lane_to_integer<Float32, I32>, false, 2>},
    {Op::cvttps2pi, "cvttps2pi", packed_conversion<Float32, I32, lane_truncated<Float32, I32>, false, 2>},
    {Op::cvtpd2pi, "cvtpd2pi", packed_conversion<Float64, I32, lane_to_integer<Float64, I32>>},
    {Op::cvttpd2pi, "cvttpd2pi", packed_conversion<Float64, I32, lane_truncated<Float64, I32>>},
};

}  // namespace

std::span<const SseRow> sse_conversion_rows() { return conversion_rows; }

}  // namespace cbit::cpu::fp
