// What operations of the IR mean: shifts, rotates, bits. See ops_move.hpp.
//
// Flags that APM vol. 3 leaves undefined have here the value that comes cheapest.
#pragma once

#include "cpu/ops_arithmetic.hpp"

namespace cbit::cpu::ops {

template <class T>
inline constexpr unsigned count_mask = sizeof(T) == 8 ? 63 : 31;

template <class T>
[[nodiscard]] inline unsigned count_in_cl(const State& s) {
  return get<std::uint8_t>(s, slot_rcx) & count_mask<T>;
}

struct Shifted {
  bool carry = false;
  bool overflow = false;
};

// count is not zero. Bytes and words can be shifted out whole.
struct ShiftLeft {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, unsigned count) {
    return count < bits_of<T> ? static_cast<T>(a << count) : T{0};
  }
  template <class T>
  [[gnu::always_inline]] static Shifted flags(T a, unsigned count, T result) {
    const bool carry = count <= bits_of<T> && (a >> (bits_of<T> - count) & 1) != 0;
    return {carry, top_bit(result) != carry};
  }
};
struct ShiftRight {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, unsigned count) {
    return count < bits_of<T> ? static_cast<T>(a >> count) : T{0};
  }
  template <class T>
  [[gnu::always_inline]] static Shifted flags(T a, unsigned count, T) {
    return {count <= bits_of<T> && (a >> (count - 1) & 1) != 0, top_bit(a)};
  }
};
struct ShiftArithmetic {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, unsigned count) {
    const unsigned limited = count < bits_of<T> ? count : bits_of<T> - 1;
    return static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> limited);
  }
  template <class T>
  [[gnu::always_inline]] static Shifted flags(T a, unsigned count, T) {
    const unsigned limited = count < bits_of<T> ? count : bits_of<T>;
    return {(static_cast<std::make_signed_t<T>>(a) >> (limited - 1) & 1) != 0, false};
  }
};

[[nodiscard]] inline std::uint32_t carry_and_overflow(bool carry, bool overflow) {
  return (carry ? isa::flag_cf : 0) | (overflow ? isa::flag_of : 0);
}

template <class Function, class T, bool flagged>
CBIT_HANDLER shift(State& s, const isa::Op* op, unsigned count) {
  const T a = get<T>(s, op->a);
  const T result = Function::apply(a, count);
  if constexpr (flagged) {
    const Shifted shifted = Function::flags(a, count, result);
    s.flags.of_result(result, carry_and_overflow(shifted.carry, shifted.overflow));
  }
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class Function, class T, bool flagged>
CBIT_HANDLER shift_by_cl(State& s, const isa::Op* op) {
  const unsigned count = count_in_cl<T>(s);
  if (count == 0) return mov_rr<T>(s, op);
  return shift<Function, T, flagged>(s, op, count);
}

#define CBIT_SHIFT(name, Function)                                             \
  template <class T, bool flagged>                                             \
  CBIT_HANDLER name##_ri(State& s, const isa::Op* op) {                        \
    return shift<Function, T, flagged>(s, op, static_cast<unsigned>(op->imm)); \
  }                                                                            \
  template <class T, bool flagged>                                             \
  CBIT_HANDLER name##_rc(State& s, const isa::Op* op) {                        \
    return shift_by_cl<Function, T, flagged>(s, op);                           \
  }
CBIT_SHIFT(shl, ShiftLeft)
CBIT_SHIFT(shr, ShiftRight)
CBIT_SHIFT(sar, ShiftArithmetic)
#undef CBIT_SHIFT

// Rotates change CF and OF only.
inline void set_carry_and_overflow(Flags& flags, bool carry, bool overflow) {
  flags.set((flags.image() & ~(isa::flag_cf | isa::flag_of)) | carry_and_overflow(carry, overflow));
}

struct RotateLeft {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, unsigned count) {
    return std::rotl(a, static_cast<int>(count % bits_of<T>));
  }
  template <class T>
  [[gnu::always_inline]] static Shifted flags(T result) {
    const bool carry = (result & 1) != 0;
    return {carry, top_bit(result) != carry};
  }
};
struct RotateRight {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, unsigned count) {
    return std::rotr(a, static_cast<int>(count % bits_of<T>));
  }
  template <class T>
  [[gnu::always_inline]] static Shifted flags(T result) {
    return {top_bit(result), top_bit(result) != top_bit(static_cast<T>(result << 1))};
  }
};

template <class Function, class T, bool flagged>
CBIT_HANDLER rotate(State& s, const isa::Op* op, unsigned count) {
  const T result = Function::apply(get<T>(s, op->a), count);
  if constexpr (flagged) {
    const Shifted rotated = Function::flags(result);
    set_carry_and_overflow(s.flags, rotated.carry, rotated.overflow);
  }
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class Function, class T, bool flagged>
CBIT_HANDLER rotate_by_cl(State& s, const isa::Op* op) {
  const unsigned count = count_in_cl<T>(s);
  if (count == 0) return mov_rr<T>(s, op);
  return rotate<Function, T, flagged>(s, op, count);
}
template <class T, bool flagged>
CBIT_HANDLER rol_ri(State& s, const isa::Op* op) {
  return rotate<RotateLeft, T, flagged>(s, op, static_cast<unsigned>(op->imm));
}
template <class T, bool flagged>
CBIT_HANDLER ror_ri(State& s, const isa::Op* op) {
  return rotate<RotateRight, T, flagged>(s, op, static_cast<unsigned>(op->imm));
}
template <class T, bool flagged>
CBIT_HANDLER rol_rc(State& s, const isa::Op* op) {
  return rotate_by_cl<RotateLeft, T, flagged>(s, op);
}
template <class T, bool flagged>
CBIT_HANDLER ror_rc(State& s, const isa::Op* op) {
  return rotate_by_cl<RotateRight, T, flagged>(s, op);
}

// Through CF: of one bit more than the operand has.
template <class T>
[[gnu::always_inline]] inline const isa::Op* rotate_left_through_carry(State& s, const isa::Op* op,
                                                                       unsigned masked) {
  const unsigned count = masked % (bits_of<T> + 1);
  T value = get<T>(s, op->a);
  bool carry = s.flags.carry();
  for (unsigned i = 0; i < count; ++i) {
    const bool out = top_bit(value);
    value = static_cast<T>(value << 1 | (carry ? 1 : 0));
    carry = out;
  }
  if (masked != 0) set_carry_and_overflow(s.flags, carry, top_bit(value) != carry);
  put<T>(s, op->dst, value);
  return op + 1;
}
template <class T>
[[gnu::always_inline]] inline const isa::Op* rotate_right_through_carry(State& s, const isa::Op* op,
                                                                        unsigned masked) {
  const unsigned count = masked % (bits_of<T> + 1);
  T value = get<T>(s, op->a);
  bool carry = s.flags.carry();
  for (unsigned i = 0; i < count; ++i) {
    const bool out = (value & 1) != 0;
    value = static_cast<T>(value >> 1 | (carry ? T{1} : T{0}) << (bits_of<T> - 1));
    carry = out;
  }
  if (masked != 0)
    set_carry_and_overflow(s.flags, carry, top_bit(value) != top_bit(static_cast<T>(value << 1)));
  put<T>(s, op->dst, value);
  return op + 1;
}
template <class T>
CBIT_HANDLER rcl_ri(State& s, const isa::Op* op) {
  return rotate_left_through_carry<T>(s, op, static_cast<unsigned>(op->imm));
}
template <class T>
CBIT_HANDLER rcr_ri(State& s, const isa::Op* op) {
  return rotate_right_through_carry<T>(s, op, static_cast<unsigned>(op->imm));
}
template <class T>
CBIT_HANDLER rcl_rc(State& s, const isa::Op* op) {
  return rotate_left_through_carry<T>(s, op, count_in_cl<T>(s));
}
template <class T>
CBIT_HANDLER rcr_rc(State& s, const isa::Op* op) {
  return rotate_right_through_carry<T>(s, op, count_in_cl<T>(s));
}

// A word shifted by more than its width has an undefined result: APM vol. 3, SHLD.
template <class T>
CBIT_HANDLER shift_double_left(State& s, const isa::Op* op, unsigned count) {
  const T a = get<T>(s, op->a);
  if (count == 0 || count > bits_of<T>) return mov_rr<T>(s, op);
  const T b = get<T>(s, op->b);
  const T result = count == bits_of<T> ? b : static_cast<T>(a << count | b >> (bits_of<T> - count));
  const bool carry = (a >> (bits_of<T> - count) & 1) != 0;
  s.flags.of_result(result, carry_and_overflow(carry, top_bit(result) != top_bit(a)));
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class T>
CBIT_HANDLER shift_double_right(State& s, const isa::Op* op, unsigned count) {
  const T a = get<T>(s, op->a);
  if (count == 0 || count > bits_of<T>) return mov_rr<T>(s, op);
  const T b = get<T>(s, op->b);
  const T result = count == bits_of<T> ? b : static_cast<T>(a >> count | b << (bits_of<T> - count));
  const bool carry = (a >> (count - 1) & 1) != 0;
  s.flags.of_result(result, carry_and_overflow(carry, top_bit(result) != top_bit(a)));
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class T>
CBIT_HANDLER shld_ri(State& s, const isa::Op* op) {
  return shift_double_left<T>(s, op, static_cast<unsigned>(op->imm));
}
template <class T>
CBIT_HANDLER shrd_ri(State& s, const isa::Op* op) {
  return shift_double_right<T>(s, op, static_cast<unsigned>(op->imm));
}
template <class T>
CBIT_HANDLER shld_rc(State& s, const isa::Op* op) {
  return shift_double_left<T>(s, op, count_in_cl<T>(s));
}
template <class T>
CBIT_HANDLER shrd_rc(State& s, const isa::Op* op) {
  return shift_double_right<T>(s, op, count_in_cl<T>(s));
}

inline void set_carry(Flags& flags, bool carry) {
  flags.set((flags.image() & ~isa::flag_cf) | (carry ? isa::flag_cf : 0));
}

// The bit's number is a register's value or an immediate, modulo the width. CF becomes the bit.
template <class T>
[[nodiscard]] inline T tested_bit(State& s, const isa::Op* op, T value) {
  const auto number = static_cast<unsigned>(get<T>(s, op->b) + op->imm) % bits_of<T>;
  set_carry(s.flags, (value >> number & 1) != 0);
  return static_cast<T>(T{1} << number);
}
template <class T>
CBIT_HANDLER bt(State& s, const isa::Op* op) {
  (void)tested_bit<T>(s, op, get<T>(s, op->a));
  return op + 1;
}
template <class T>
CBIT_HANDLER bts(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  const T bit = tested_bit<T>(s, op, value);
  put<T>(s, op->dst, static_cast<T>(value | bit));
  return op + 1;
}
template <class T>
CBIT_HANDLER btr(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  const T bit = tested_bit<T>(s, op, value);
  put<T>(s, op->dst, static_cast<T>(value & ~bit));
  return op + 1;
}
template <class T>
CBIT_HANDLER btc(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  const T bit = tested_bit<T>(s, op, value);
  put<T>(s, op->dst, static_cast<T>(value ^ bit));
  return op + 1;
}
// How many bytes from a bit string's start its bit's operand lies; the number is signed.
template <class T>
CBIT_HANDLER bit_address(State& s, const isa::Op* op) {
  const auto number = static_cast<std::int64_t>(sign_extended(get<T>(s, op->a)));
  constexpr unsigned shift = std::countr_zero(bits_of<T>);
  put<std::uint64_t>(s, op->dst, static_cast<std::uint64_t>((number >> shift) * std::int64_t{sizeof(T)}));
  return op + 1;
}

// Without a set bit the destination stays: APM vol. 3, BSF.
template <class T>
CBIT_HANDLER bsf(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  s.flags.of_logic(value);
  if (value != 0) put<T>(s, op->dst, static_cast<T>(std::countr_zero(value)));
  return op + 1;
}
template <class T>
CBIT_HANDLER bsr(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  s.flags.of_logic(value);
  if (value != 0) put<T>(s, op->dst, static_cast<T>(bits_of<T> - 1 - std::countl_zero(value)));
  return op + 1;
}
template <class T>
CBIT_HANDLER popcnt(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  s.flags.set(value == 0 ? isa::flag_zf : 0);
  put<T>(s, op->dst, static_cast<T>(std::popcount(value)));
  return op + 1;
}
template <class T>
CBIT_HANDLER zeros_counted(State& s, const isa::Op* op, T value, int zeros) {
  s.flags.set((value == 0 ? isa::flag_cf : 0) | (zeros == 0 ? isa::flag_zf : 0));
  put<T>(s, op->dst, static_cast<T>(zeros));
  return op + 1;
}
template <class T>
CBIT_HANDLER tzcnt(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  return zeros_counted<T>(s, op, value, std::countr_zero(value));
}
template <class T>
CBIT_HANDLER lzcnt(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  return zeros_counted<T>(s, op, value, std::countl_zero(value));
}

// b: set, nb: clear, o: invert.
template <Cond to>
CBIT_HANDLER change_carry(State& s, const isa::Op* op) {
  set_carry(s.flags, to == Cond::b || (to == Cond::o && !s.flags.carry()));
  return op + 1;
}
CBIT_HANDLER direction(State& s, const isa::Op* op) {
  s.direction = op->imm != 0;
  return op + 1;
}
// Bit 1 of the flags is always set.
CBIT_HANDLER flags_to_ah(State& s, const isa::Op* op) {
  put<std::uint8_t>(s, slot_rax + 1, static_cast<std::uint8_t>((s.flags.image() & 0xff) | 2));
  return op + 1;
}
CBIT_HANDLER ah_to_flags(State& s, const isa::Op* op) {
  s.flags.set((s.flags.image() & isa::flag_of) | (get<std::uint8_t>(s, slot_rax + 1) & ~isa::flag_of));
  return op + 1;
}

}  // namespace cbit::cpu::ops
