// Packed and scalar floating-point arithmetic and comparison.
#include "cpu/fp/operands.hpp"
#include "cpu/fp/softfloat.hpp"
#include "cpu/fp/sse_lane_environment.hpp"
#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

// --- Shapes. A binary Function is (F, F, Environment&), a unary one (F, Environment&).

template <class F, auto Function>
Vec128 packed_binary(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  auto a = dst.as<F>();
  const auto b = src.as<F>();
  SseLanes lanes{context};
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = lanes.run([&](Environment& env) { return Function(a[i], b[i], env); });
  }
  return lanes.finish() ? Vec128::of(a) : dst;
}

template <class F, auto Function>
Vec128 scalar_binary(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  SseLanes lanes{context};
  const F a = dst.lane<F>(0);
  const F b = src.lane<F>(0);
  const F result = lanes.run([&](Environment& env) { return Function(a, b, env); });
  return lanes.finish() ? dst.with(0, result) : dst;
}

template <class F, auto Function>
Vec128 packed_unary(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  auto a = src.as<F>();
  SseLanes lanes{context};
  for (F& lane : a) {
    lane = lanes.run([&](Environment& env) { return Function(lane, env); });
  }
  return lanes.finish() ? Vec128::of(a) : dst;
}

template <class F, auto Function>
Vec128 scalar_unary(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  SseLanes lanes{context};
  const F a = src.lane<F>(0);
  const F result = lanes.run([&](Environment& env) { return Function(a, env); });
  return lanes.finish() ? dst.with(0, result) : dst;
}

template <class F>
F add_lanes(F a, F b, Environment& env) {
  return add<F>(a, b, env);
}
template <class F>
F subtract_lanes(F a, F b, Environment& env) {
  return subtract<F>(a, b, env);
}
template <class F>
F multiply_lanes(F a, F b, Environment& env) {
  return multiply<F>(a, b, env);
}
template <class F>
F divide_lanes(F a, F b, Environment& env) {
  return divide<F>(a, b, env);
}
template <class F>
F root_of_lane(F a, Environment& env) {
  return square_root<F>(a, env);
}

// Neighbours of the first operand, then of the second.
template <class F, auto Function>
Vec128 horizontal_floats(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  const auto a = dst.as<F>();
  const auto b = src.as<F>();
  constexpr std::size_t half = a.size() / 2;
  Vec128::Lanes<F> result{};
  SseLanes lanes{context};
  for (std::size_t i = 0; i < half; ++i) {
    result[i] = lanes.run([&](Environment& env) { return Function(a[2 * i], a[2 * i + 1], env); });
    result[half + i] = lanes.run([&](Environment& env) { return Function(b[2 * i], b[2 * i + 1], env); });
  }
  return lanes.finish() ? Vec128::of(result) : dst;
}

// Subtracts in even lanes, adds in odd ones.
template <class F>
Vec128 addsub(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  auto a = dst.as<F>();
  const auto b = src.as<F>();
  SseLanes lanes{context};
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = lanes.run([&](Environment& env) {
      return i % 2 == 0 ? subtract<F>(a[i], b[i], env) : add<F>(a[i], b[i], env);
    });
  }
  return lanes.finish() ? Vec128::of(a) : dst;
}

// Products of the lanes that imm[7:4] selects, added pair by pair, into the lanes that imm[3:0] selects.
template <class F>
Vec128 dot_product(const Vec128& dst, const Vec128& src, U8 imm, SseContext& context) {
  const auto a = dst.as<F>();
  const auto b = src.as<F>();
  Vec128::Lanes<F> sums{};
  SseLanes products{context};
  for (std::size_t i = 0; i < a.size(); ++i) {
    if ((imm >> (4 + i) & 1) == 0) continue;
    sums[i] = products.run([&](Environment& env) { return multiply<F>(a[i], b[i], env); });
  }
  if (!products.finish()) return dst;
  for (std::size_t count = sums.size(); count > 1; count /= 2) {
    SseLanes additions{context};
    for (std::size_t i = 0; i < count / 2; ++i) {
      sums[i] = additions.run([&](Environment& env) { return add<F>(sums[2 * i], sums[2 * i + 1], env); });
    }
    if (!additions.finish()) return dst;
  }
  Vec128::Lanes<F> result{};
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = (imm >> i & 1) != 0 ? sums[0] : F{};
  return Vec128::of(result);
}

// --- Comparison.

// The predicates of imm[2:0]; the upper four are the negations of the lower. SDM vol. 2, CMPPS.
template <class F>
bool holds(F a, F b, unsigned predicate, Environment& env) {
  const unsigned base = predicate & 3;
  const Order order =
      compare(a, b, base == 0 || base == 3 ? Comparison::unordered : Comparison::ordered, env);
  const bool base_holds = base == 0   ? order == Order::equal
                          : base == 1 ? order == Order::less
                          : base == 2 ? order == Order::less || order == Order::equal
                                      : order == Order::unordered;
  return base_holds != ((predicate & 4) != 0);
}

template <class F, bool Scalar>
Vec128 compared(const Vec128& dst, const Vec128& src, U8 imm, SseContext& context) {
  auto a = dst.as<F>();
  const auto b = src.as<F>();
  SseLanes lanes{context};
  for (std::size_t i = 0; i < (Scalar ? 1 : a.size()); ++i) {
    const bool met = lanes.run([&](Environment& env) { return holds(a[i], b[i], imm, env); });
    a[i] = met ? F{static_cast<typename F::Bits>(-1)} : F{};
  }
  return lanes.finish() ? Vec128::of(a) : dst;
}

template <class F, Comparison How>
Vec128 compared_to_flags(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  SseLanes lanes{context};
  const Order order =
      lanes.run([&](Environment& env) { return compare(dst.lane<F>(0), src.lane<F>(0), How, env); });
  if (lanes.finish()) context.flags = eflags_of(order);
  return dst;
}

// --- Approximations. Their error may be up to 1.5 × 2^−12 of the result, and processors differ within that;
// here the result is the exact one to 13 bits, so that the error is at most 2^−13. They raise no exceptions,
// take denormals for zeros, and give zero for what would be a denormal: SDM vol. 2, RCPPS, RSQRTPS.

Float32 to_thirteen_bits(Float32 value) {
  constexpr std::uint32_t dropped = 0x7ff;
  return {(value.bits + (dropped >> 1) + 1) & ~dropped};
}

Float32 reciprocal(Float32 value, Environment&) {
  Environment env{.denormals_are_zero = true, .flush_to_zero = true};
  const Unpacked a = flushed(value, env);
  const Float32 exact = divide<Float32>(Unpacked::from_integer(1), a, env);
  return a.is_finite() ? to_thirteen_bits(exact) : exact;
}

Float32 reciprocal_root(Float32 value, Environment&) {
  Environment env{.denormals_are_zero = true};
  const Unpacked a = flushed(value, env);
  if (a.is_nan()) return quieted<Float32>(a);
  if (a.kind == Kind::zero) return infinity<Float32>(a.sign);
  if (a.sign) return indefinite<Float32>();
  const Float64 root = square_root<Float64>(a, env);
  return to_thirteen_bits(divide<Float32>(Unpacked::from_integer(1), root, env));
}

using Op = SseOp;

constexpr SseRow float_rows[] = {
    {Op::addps, "addps", packed_binary<Float32, add_lanes<Float32>>},
    {Op::addss, "addss", scalar_binary<Float32, add_lanes<Float32>>},
    {Op::addpd, "addpd", packed_binary<Float64, add_lanes<Float64>>},
    {Op::addsd, "addsd", scalar_binary<Float64, add_lanes<Float64>>},
    {Op::subps, "subps", packed_binary<Float32, subtract_lanes<Float32>>},
    {Op::subss, "subss", scalar_binary<Float32, subtract_lanes<Float32>>},
    {Op::subpd, "subpd", packed_binary<Float64, subtract_lanes<Float64>>},
    {Op::subsd, "subsd", scalar_binary<Float64, subtract_lanes<Float64>>},
    {Op::mulps, "mulps", packed_binary<Float32, multiply_lanes<Float32>>},
    {Op::mulss, "mulss", scalar_binary<Float32, multiply_lanes<Float32>>},
    {Op::mulpd, "mulpd", packed_binary<Float64, multiply_lanes<Float64>>},
    {Op::mulsd, "mulsd", scalar_binary<Float64, multiply_lanes<Float64>>},
    {Op::divps, "divps", packed_binary<Float32, divide_lanes<Float32>>},
    {Op::divss, "divss", scalar_binary<Float32, divide_lanes<Float32>>},
    {Op::divpd, "divpd", packed_binary<Float64, divide_lanes<Float64>>},
    {Op::divsd, "divsd", scalar_binary<Float64, divide_lanes<Float64>>},
    {Op::minps, "minps", packed_binary<Float32, minimum<Float32>>},
    {Op::minss, "minss", scalar_binary<Float32, minimum<Float32>>},
    {Op::minpd, "minpd", packed_binary<Float64, minimum<Float64>>},
    {Op::minsd, "minsd", scalar_binary<Float64, minimum<Float64>>},
    {Op::maxps, "maxps", packed_binary<Float32, maximum<Float32>>},
    {Op::maxss, "maxss", scalar_binary<Float32, maximum<Float32>>},
    {Op::maxpd, "maxpd", packed_binary<Float64, maximum<Float64>>},
    {Op::maxsd, "maxsd", scalar_binary<Float64, maximum<Float64>>},
    {Op::sqrtps, "sqrtps", packed_unary<Float32, root_of_lane<Float32>>},
    {Op::sqrtss, "sqrtss", scalar_unary<Float32, root_of_lane<Float32>>},
    {Op::sqrtpd, "sqrtpd", packed_unary<Float64, root_of_lane<Float64>>},
    {Op::sqrtsd, "sqrtsd", scalar_unary<Float64, root_of_lane<Float64>>},
    {Op::rcpps, "rcpps", packed_unary<Float32, reciprocal>},
    {Op::rcpss, "rcpss", scalar_unary<Float32, reciprocal>},
    {Op::rsqrtps, "rsqrtps", packed_unary<Float32, reciprocal_root>},
    {Op::rsqrtss, "rsqrtss", scalar_unary<Float32, reciprocal_root>},

    {Op::haddps, "haddps", horizontal_floats<Float32, add_lanes<Float32>>},
    {Op::haddpd, "haddpd", horizontal_floats<Float64, add_lanes<Float64>>},
    {Op::hsubps, "hsubps", horizontal_floats<Float32, subtract_lanes<Float32>>},
    {Op::hsubpd, "hsubpd", horizontal_floats<Float64, subtract_lanes<Float64>>},
    {Op::addsubps, "addsubps", addsub<Float32>},
    {Op::addsubpd, "addsubpd", addsub<Float64>},
    {Op::dpps, "dpps", dot_product<Float32>},
    {Op::dppd, "dppd", dot_product<Float64>},

    {Op::cmpps, "cmpps", compared<Float32, false>},
    {Op::cmpss, "cmpss", compared<Float32, true>},
    {Op::cmppd, "cmppd", compared<Float64, false>},
    {Op::cmpsd, "cmpsd", compared<Float64, true>},
    {Op::comiss, "comiss", compared_to_flags<Float32, Comparison::ordered>, nullptr, SseResult::flags},
    {Op::comisd, "comisd", compared_to_flags<Float64, Comparison::ordered>, nullptr, SseResult::flags},
    {Op::ucomiss, "ucomiss", compared_to_flags<Float32, Comparison::unordered>, nullptr, SseResult::flags},
    {Op::ucomisd, "ucomisd", compared_to_flags<Float64, Comparison::unordered>, nullptr, SseResult::flags},
};

}  // namespace

std::span<const SseRow> sse_float_rows() { return float_rows; }

}  // namespace cbit::cpu::fp
