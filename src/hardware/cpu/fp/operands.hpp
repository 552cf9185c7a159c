// What operations of softfloat look at before they compute: NaNs, unsupported encodings, denormals. Internal
// to this folder.
#pragma once

#include <optional>

#include "cpu/fp/environment.hpp"
#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp {

inline Unpacked flushed(const Unpacked& a, const Environment& env) {
  return a.kind == Kind::denormal && env.denormals_are_zero ? Unpacked{Kind::zero, a.sign, 0, 0} : a;
}

constexpr Unpacked negated(Unpacked a) {
  a.sign = !a.sign;
  return a;
}

inline void raise_if_denormal(const Unpacked& a, Environment& env) {
  if (a.kind == Kind::denormal) env.raise(de);
}

template <Format F>
F invalid_operation(Environment& env) {
  env.raise(ie);
  return indefinite<F>();
}

// Which of two NaNs an x87 operation returns: APM vol. 1, table 6-7, and its note 4 for equal significands.
inline const Unpacked& x87_choice(const Unpacked& a, const Unpacked& b) {
  if (!a.is_nan() || !b.is_nan()) return a.is_nan() ? a : b;
  if (a.kind != b.kind) return a.kind == Kind::quiet_nan ? a : b;
  if (a.significand != b.significand) return a.significand > b.significand ? a : b;
  return a.sign ? b : a;
}

// The result if an operand is a NaN or unsupported. SSE returns its first operand if that is a NaN: APM vol.
// 1, table 4-5.
template <Format F>
std::optional<F> propagated_nan(const Unpacked& a, const Unpacked& b, Environment& env) {
  if (a.kind < Kind::quiet_nan && b.kind < Kind::quiet_nan) return std::nullopt;
  if (a.kind == Kind::unsupported || b.kind == Kind::unsupported) return invalid_operation<F>(env);
  if (a.kind == Kind::signaling_nan || b.kind == Kind::signaling_nan) env.raise(ie);
  if constexpr (std::same_as<F, Float80>) return quieted<F>(x87_choice(a, b));
  return quieted<F>(a.is_nan() ? a : b);
}

template <Format F>
std::optional<F> propagated_nan(const Unpacked& a, Environment& env) {
  return propagated_nan<F>(a, a, env);
}

}  // namespace cbit::cpu::fp
