#include "cpu/fp/x87.hpp"

#include <limits>

namespace cbit::cpu::fp {
void X87::raise(Exceptions which) {
  state.status.raw = static_cast<std::uint16_t>(state.status.raw | which);
  summarize_errors();
}

void X87::summarize_errors() {
  const unsigned waiting =
      state.status.get<X87Status::Flags>() & ~unsigned{state.control.get<X87Control::Masks>()};
  state.status = state.status.with<X87Status::ErrorSummary>(waiting != 0).with<X87Status::Busy>(waiting != 0);
}

void X87::set_conditions(bool c3, bool c2, bool c0) {
  state.status = state.status.with<X87Status::C3>(c3).with<X87Status::C2>(c2).with<X87Status::C0>(c0);
}

// Both: whether the masked response is due.
bool X87::stack_underflow() {
  state.status = state.status.with<X87Status::StackFault>(true);
  set_c1(false);
  raise(ie);
  return is_masked(ie);
}

bool X87::stack_overflow() {
  state.status = state.status.with<X87Status::StackFault>(true);
  set_c1(true);
  raise(ie);
  return is_masked(ie);
}

// --- Loads.

void X87::load(Float80 value, const Environment& env) {
  if (!is_empty(7)) {
    if (stack_overflow()) push(indefinite<Float80>());
    return;
  }
  commit(env);
  // A denormal operand is loaded even if that exception is not masked.
  if ((env.unmasked() & ie) == 0) push(value);
}

template <Format F>
void X87::fld_converted(F value) {
  Environment env = environment();
  const Float80 loaded = convert<Float80>(value, env);
  load(loaded, env);
}

void X87::fld(Float32 value) { fld_converted(value); }

void X87::fld(Float64 value) { fld_converted(value); }

void X87::fld(Float80 value) { load(value, {}); }

void X87::fld_register(unsigned i) {
  if (is_empty(i)) {
    if (stack_underflow()) push(indefinite<Float80>());
  } else if (!is_empty(7)) {
    if (stack_overflow()) push(indefinite<Float80>());
  } else {
    set_c1(false);
    push(st(i));
  }
}

void X87::fild(std::int64_t value) {
  Environment env = environment();
  load(from_integer<Float80>(value, env), env);
}

void X87::fbld(const PackedDecimal& value) { load(from_packed_decimal(value), environment()); }

// --- Stores.

template <Format T>
X87Store<T> X87::fst() const {
  X87Store<T> store{.outcome = environment(), .stack_fault = is_empty(0)};
  if (store.stack_fault) {
    store.value = indefinite<T>();
    store.outcome.raise(ie);
  } else if constexpr (std::same_as<T, Float80>) {
    store.value = st(0);
  } else {
    store.value = convert<T>(st(0), store.outcome);
  }
  // Not even overflow and underflow have a result that memory could hold: SDM vol. 1, 8.5.4, 8.5.5.
  store.writes = (store.outcome.unmasked() & ~unsigned{pe}) == 0;
  if (!store.writes) {
    store.outcome.raised &= static_cast<Exceptions>(~pe);
    store.outcome.rounded_up = false;
  }
  return store;
}
template X87Store<Float32> X87::fst() const;
template X87Store<Float64> X87::fst() const;
template X87Store<Float80> X87::fst() const;

template <class T>
X87Store<T> X87::fist(bool truncate) const {
  X87Store<T> store{.outcome = environment(), .stack_fault = is_empty(0)};
  if (store.stack_fault) {
    store.value = std::numeric_limits<T>::min();
    store.outcome.raise(ie);
  } else {
    const RoundingMode mode = truncate ? RoundingMode::zero : store.outcome.rounding;
    store.value = static_cast<T>(to_integer(st(0), 8 * sizeof(T), mode, store.outcome));
  }
  store.writes = (store.outcome.unmasked() & ie) == 0;
  return store;
}
template X87Store<std::int16_t> X87::fist(bool) const;
template X87Store<std::int32_t> X87::fist(bool) const;
template X87Store<std::int64_t> X87::fist(bool) const;

X87Store<PackedDecimal> X87::fbstp() const {
  X87Store<PackedDecimal> store{.outcome = environment(), .stack_fault = is_empty(0)};
  if (store.stack_fault) {
    store.outcome.raise(ie);
    store.value = packed_decimal_indefinite;
  } else {
    store.value = to_packed_decimal(st(0), store.outcome);
  }
  store.writes = (store.outcome.unmasked() & ie) == 0;
  return store;
}

void X87::finish_store(const Environment& env, bool stack_fault, bool writes, Pops pops) {
  if (stack_fault) {
    stack_underflow();
  } else {
    commit(env);
  }
  if (writes) pop(pops);
}

void X87::fst_register(unsigned i, Pops pops) {
  if (is_empty(0)) {
    if (!stack_underflow()) return;
    set_st(i, indefinite<Float80>());
  } else {
    set_c1(false);
    set_st(i, st(0));
  }
  pop(pops);
}

// --- Stack.

void X87::fxch(unsigned i) {
  const Float80 first = is_empty(0) ? indefinite<Float80>() : st(0);
  const Float80 second = is_empty(i) ? indefinite<Float80>() : st(i);
  if (is_empty(0) || is_empty(i)) {
    if (!stack_underflow()) return;
  } else {
    set_c1(false);
  }
  set_st(0, second);
  set_st(i, first);
}

void X87::fcmov(bool condition, unsigned i) {
  if (is_empty(0) || is_empty(i)) {
    if (stack_underflow()) set_st(0, indefinite<Float80>());
    return;
  }
  if (condition) set_st(0, st(i));
}

void X87::ffree(unsigned i, Pops pops) {
  state.in_use = static_cast<std::uint8_t>(state.in_use & ~(1u << physical(i)));
  set_c1(false);
  pop(pops);
}

void X87::fincstp() {
  move_top(1);
  set_c1(false);
}

void X87::fdecstp() {
  move_top(-1);
  set_c1(false);
}

// --- Control.

void X87::fninit() {
  const auto registers = state.registers;
  state = X87State{.registers = registers};
}

void X87::fnclex() { state.status.raw &= 0x7f00; }

void X87::fldcw(std::uint16_t value) {
  state.control.raw = static_cast<std::uint16_t>((value & 0x1f3f) | 0x40);
  summarize_errors();
}

// --- MMX. SDM vol. 3, "Effects of MMX instructions on x87 FPU state".

void X87::enter_mmx() {
  state.status = state.status.with<X87Status::Top>(0);
  state.in_use = 0xff;
}

void X87::emms() {
  enter_mmx();
  state.in_use = 0;
}

}  // namespace cbit::cpu::fp
