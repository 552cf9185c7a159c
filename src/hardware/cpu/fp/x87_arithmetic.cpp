// x87: arithmetic, comparison, and the transcendental instructions' way to the stack.
#include "cpu/fp/eflags.hpp"
#include "cpu/fp/transcendental.hpp"
#include "cpu/fp/x87.hpp"

namespace cbit::cpu::fp {
namespace {

Float80 compute(X87Arithmetic operation, const Unpacked& a, const Unpacked& b, Environment& env) {
  switch (operation) {
    case X87Arithmetic::add: return add<Float80>(a, b, env);
    case X87Arithmetic::multiply: return multiply<Float80>(a, b, env);
    case X87Arithmetic::subtract: return subtract<Float80>(a, b, env);
    case X87Arithmetic::subtract_reversed: return subtract<Float80>(b, a, env);
    case X87Arithmetic::divide: return divide<Float80>(a, b, env);
    case X87Arithmetic::divide_reversed: return divide<Float80>(b, a, env);
  }
  return {};
}

}  // namespace

// --- Shapes of instructions.

// ST(0) := function(ST(0)).
template <class Function>
void X87::unary(Function function) {
  if (is_empty(0)) {
    if (stack_underflow()) set_st(0, indefinite<Float80>());
    return;
  }
  Environment env = environment();
  const Float80 result = function(Unpacked{st(0)}, env);
  if (commit(env)) set_st(0, result);
}

// ST(1) := function(ST(0), ST(1)), and pops.
template <class Function>
void X87::binary_and_pop(Function function) {
  if (is_empty(0) || is_empty(1)) {
    if (!stack_underflow()) return;
    set_st(1, indefinite<Float80>());
  } else {
    Environment env = environment();
    const Float80 result = function(Unpacked{st(0)}, Unpacked{st(1)}, env);
    if (!commit(env)) return;
    set_st(1, result);
  }
  pop(Pops::one);
}

// ST(0) := first result of function(ST(0)), and pushes the second.
template <class Function>
void X87::unary_and_push(Function function) {
  if (is_empty(0) || !is_empty(7)) {
    if (is_empty(0) ? stack_underflow() : stack_overflow()) {
      set_st(0, indefinite<Float80>());
      push(indefinite<Float80>());
    }
    return;
  }
  Environment env = environment();
  const auto [first, second] = function(Unpacked{st(0)}, env);
  if (!commit(env)) return;
  set_st(0, first);
  push(second);
}

// --- Arithmetic.

void X87::arithmetic(X87Arithmetic operation, unsigned dst, unsigned src, Pops pops) {
  if (is_empty(dst) || is_empty(src)) {
    if (!stack_underflow()) return;
    set_st(dst, indefinite<Float80>());
  } else {
    Environment env = environment();
    const Float80 result = compute(operation, st(dst), st(src), env);
    if (!commit(env)) return;
    set_st(dst, result);
  }
  pop(pops);
}

void X87::arithmetic(X87Arithmetic operation, const Unpacked& memory) {
  unary([&](const Unpacked& a, Environment& env) { return compute(operation, a, memory, env); });
}

void X87::fsqrt() { unary(square_root<Float80>); }

void X87::fabs() {
  unary([this](const Unpacked&, Environment&) {
    const Float80 value = st(0);
    return Float80{value.significand, static_cast<std::uint16_t>(value.sign_exponent & 0x7fff)};
  });
}

void X87::fchs() {
  unary([this](const Unpacked&, Environment&) {
    const Float80 value = st(0);
    return Float80{value.significand, static_cast<std::uint16_t>(value.sign_exponent ^ 0x8000)};
  });
}

void X87::frndint() {
  unary([this](const Unpacked&, Environment& env) { return round_to_integral(st(0), env.rounding, env); });
}

void X87::fscale() {
  if (is_empty(0) || is_empty(1)) {
    if (stack_underflow()) set_st(0, indefinite<Float80>());
    return;
  }
  Environment env = environment();
  const Float80 result = scale(st(0), st(1), env);
  if (commit(env)) set_st(0, result);
}

void X87::fxtract() {
  unary_and_push([](const Unpacked& a, Environment& env) {
    const Extracted parts = extract(a, env);
    return std::pair{parts.exponent, parts.significand};
  });
}

void X87::fprem(Quotient how) {
  state.status = state.status.with<X87Status::C2>(false);
  if (is_empty(0) || is_empty(1)) {
    if (stack_underflow()) set_st(0, indefinite<Float80>());
    return;
  }
  Environment env = environment();
  const Remainder result = remainder(st(0), st(1), how, env);
  if (!commit(env)) return;
  set_st(0, result.value);
  if (!result.quotient) return;
  set_conditions((*result.quotient & 2) != 0, result.partial, (*result.quotient & 4) != 0);
  set_c1((*result.quotient & 1) != 0);
}

// --- Comparison.

// The conditions are set even if an exception is not masked.
void X87::compare_with(const Unpacked* other, Comparison how, Pops pops) {
  Order order = Order::unordered;
  bool done = false;
  if (is_empty(0) || other == nullptr) {
    done = stack_underflow();
  } else {
    Environment env = environment();
    order = fp::compare(st(0), *other, how, env);
    done = commit(env);
  }
  const bool unordered = order == Order::unordered;
  set_conditions(unordered || order == Order::equal, unordered, unordered || order == Order::less);
  if (done) pop(pops);
}

void X87::compare(Comparison how, unsigned i, Pops pops) {
  const Unpacked other = st(i);
  compare_with(is_empty(i) ? nullptr : &other, how, pops);
}

void X87::compare(const Unpacked& memory, Pops pops) { compare_with(&memory, Comparison::ordered, pops); }

std::uint32_t X87::compare_to_flags(Comparison how, unsigned i, Pops pops) {
  Order order = Order::unordered;
  bool done = false;
  if (is_empty(0) || is_empty(i)) {
    done = stack_underflow();
  } else {
    Environment env = environment();
    order = fp::compare(st(0), st(i), how, env);
    raise(env.raised);
    done = env.unmasked() == 0;
  }
  if (done) pop(pops);
  return eflags_of(order);
}

void X87::ftst() { compare(Unpacked{}, Pops::none); }

// C3, C2, C0 by class: APM vol. 5, FXAM.
void X87::fxam() {
  set_c1((st(0).sign_exponent & 0x8000) != 0);
  if (is_empty(0)) return set_conditions(true, false, true);
  switch (Unpacked{st(0)}.kind) {
    case Kind::unsupported: return set_conditions(false, false, false);
    case Kind::quiet_nan:
    case Kind::signaling_nan: return set_conditions(false, false, true);
    case Kind::normal: return set_conditions(false, true, false);
    case Kind::infinity: return set_conditions(false, true, true);
    case Kind::zero: return set_conditions(true, false, false);
    case Kind::denormal: return set_conditions(true, true, false);
  }
}

// --- Transcendental.

void X87::f2xm1() { unary(exponential_minus_one); }
void X87::fpatan() { binary_and_pop(arc_tangent); }
void X87::fyl2x() { binary_and_pop(logarithm); }
void X87::fyl2xp1() { binary_and_pop(logarithm_plus_one); }

// C2: the argument is out of range, and stays. A fault of the stack comes first.
bool X87::is_out_of_range(bool pushes) {
  const bool out = !is_empty(0) && !(pushes && !is_empty(7)) && is_out_of_trigonometric_range(st(0));
  state.status = state.status.with<X87Status::C2>(out);
  if (out) set_c1(false);
  return out;
}

void X87::fsin() {
  if (!is_out_of_range(false)) unary(sine);
}

void X87::fcos() {
  if (!is_out_of_range(false)) unary(cosine);
}

void X87::fsincos() {
  if (is_out_of_range(true)) return;
  unary_and_push([](const Unpacked& a, Environment& env) {
    Environment of_cosine = env;
    const std::pair results{sine(a, env), cosine(a, of_cosine)};
    env.raise(of_cosine.raised);
    return results;
  });
}

void X87::fptan() {
  if (is_out_of_range(true)) return;
  unary_and_push([](const Unpacked& a, Environment& env) {
    const Float80 first = tangent(a, env);
    const Float80 one = pack<Float80>(false, exponent_bias<Float80>, integer_bit);
    return std::pair{first, a.is_finite() ? one : first};
  });
}

}  // namespace cbit::cpu::fp
