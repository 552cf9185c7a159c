// What operations of the IR mean: integer arithmetic and logic. See ops_move.hpp.
#pragma once

#include <limits>

#include "cpu/ops_move.hpp"

namespace cbit::cpu::ops {

// Twice as wide a type, for products and dividends.
template <class T>
struct WideOf;
template <>
struct WideOf<std::uint8_t> {
  using Unsigned = std::uint16_t;
  using Signed = std::int16_t;
};
template <>
struct WideOf<std::uint16_t> {
  using Unsigned = std::uint32_t;
  using Signed = std::int32_t;
};
template <>
struct WideOf<std::uint32_t> {
  using Unsigned = std::uint64_t;
  using Signed = std::int64_t;
};
template <>
struct WideOf<std::uint64_t> {
  __extension__ using Unsigned = unsigned __int128;
  __extension__ using Signed = __int128;
};

template <class T>
[[nodiscard]] constexpr bool top_bit(T value) {
  return (value >> (bits_of<T> - 1) & 1) != 0;
}

// How an operation gets its second operand.
struct FromRegister {
  template <class T>
  [[gnu::always_inline]] static bool get(State& s, const isa::Op* op, T& value) {
    value = cpu::get<T>(s, op->b);
    return true;
  }
};
struct FromImmediate {
  template <class T>
  [[gnu::always_inline]] static bool get(State&, const isa::Op* op, T& value) {
    value = static_cast<T>(op->imm);
    return true;
  }
};
struct FromMemory {
  template <class T>
  [[gnu::always_inline]] static bool get(State& s, const isa::Op* op, T& value) {
    return cpu::load<T>(s, op, address_of(s, op), value);
  }
};

struct Add {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, T b) {
    return static_cast<T>(a + b);
  }
  template <class T>
  [[gnu::always_inline]] static void flags(Flags& flags, T, T b, T result) {
    flags.of_sum(result, b);
  }
};
struct Sub {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, T b) {
    return static_cast<T>(a - b);
  }
  template <class T>
  [[gnu::always_inline]] static void flags(Flags& flags, T a, T b, T) {
    flags.of_difference(a, b);
  }
};
struct Logic {
  template <class T>
  [[gnu::always_inline]] static void flags(Flags& flags, T, T, T result) {
    flags.of_logic(result);
  }
};
struct And : Logic {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct Or : Logic {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct Xor : Logic {
  template <class T>
  [[gnu::always_inline]] static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

template <class Function, class From, class T, bool flagged>
CBIT_HANDLER binary(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  T b;
  if (!From::get(s, op, b)) return nullptr;
  const T result = Function::apply(a, b);
  if constexpr (flagged) Function::flags(s.flags, a, b, result);
  put<T>(s, op->dst, result);
  return op + 1;
}

#define CBIT_BINARY(name, Function)                            \
  template <class T, bool flagged>                             \
  CBIT_HANDLER name##_rr(State& s, const isa::Op* op) {        \
    return binary<Function, FromRegister, T, flagged>(s, op);  \
  }                                                            \
  template <class T, bool flagged>                             \
  CBIT_HANDLER name##_ri(State& s, const isa::Op* op) {        \
    return binary<Function, FromImmediate, T, flagged>(s, op); \
  }                                                            \
  template <class T, bool flagged>                             \
  CBIT_HANDLER name##_rm(State& s, const isa::Op* op) {        \
    return binary<Function, FromMemory, T, flagged>(s, op);    \
  }
CBIT_BINARY(add, Add)
CBIT_BINARY(sub, Sub)
CBIT_BINARY(and, And)
CBIT_BINARY(or, Or)
CBIT_BINARY(xor, Xor)
#undef CBIT_BINARY

// CF, AF and OF of a + b and a - b, carry included.
template <class T>
[[nodiscard]] inline std::uint32_t sum_flags(T a, T b, T sum, bool carry_out) {
  return (carry_out ? isa::flag_cf : 0) | ((a ^ b ^ sum) & isa::flag_af) |
         (top_bit(static_cast<T>((a ^ sum) & (b ^ sum))) ? isa::flag_of : 0);
}
template <class T>
[[nodiscard]] inline std::uint32_t difference_flags(T a, T b, T difference, bool borrow_out) {
  return (borrow_out ? isa::flag_cf : 0) | ((a ^ b ^ difference) & isa::flag_af) |
         (top_bit(static_cast<T>((a ^ b) & (a ^ difference))) ? isa::flag_of : 0);
}

template <class From, class T, bool flagged>
CBIT_HANDLER add_carry(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  T b;
  if (!From::get(s, op, b)) return nullptr;
  const bool carry = s.flags.carry();
  const T sum = static_cast<T>(a + b + (carry ? 1 : 0));
  if constexpr (flagged) {
    const bool carry_out = sum < a || (carry && sum == a);
    s.flags.of_result(sum, static_cast<std::uint32_t>(sum_flags(a, b, sum, carry_out)));
  }
  put<T>(s, op->dst, sum);
  return op + 1;
}
template <class From, class T, bool flagged>
CBIT_HANDLER subtract_borrow(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  T b;
  if (!From::get(s, op, b)) return nullptr;
  const bool borrow = s.flags.carry();
  const T difference = static_cast<T>(a - b - (borrow ? 1 : 0));
  if constexpr (flagged) {
    const bool borrow_out = a < b || (borrow && a == b);
    s.flags.of_result(difference, static_cast<std::uint32_t>(difference_flags(a, b, difference, borrow_out)));
  }
  put<T>(s, op->dst, difference);
  return op + 1;
}
template <class T, bool flagged>
CBIT_HANDLER adc_rr(State& s, const isa::Op* op) {
  return add_carry<FromRegister, T, flagged>(s, op);
}
template <class T, bool flagged>
CBIT_HANDLER adc_ri(State& s, const isa::Op* op) {
  return add_carry<FromImmediate, T, flagged>(s, op);
}
template <class T, bool flagged>
CBIT_HANDLER sbb_rr(State& s, const isa::Op* op) {
  return subtract_borrow<FromRegister, T, flagged>(s, op);
}
template <class T, bool flagged>
CBIT_HANDLER sbb_ri(State& s, const isa::Op* op) {
  return subtract_borrow<FromImmediate, T, flagged>(s, op);
}

template <class Function, class T>
CBIT_HANDLER compare_values(State& s, const isa::Op* op, T a, T b) {
  Function::flags(s.flags, a, b, Function::apply(a, b));
  return op + 1;
}
// The operand in memory is the first one.
template <class Function, class T>
CBIT_HANDLER compare_memory(State& s, const isa::Op* op, T b) {
  T a;
  if (!cpu::load<T>(s, op, address_of(s, op), a)) return nullptr;
  return compare_values<Function, T>(s, op, a, b);
}
template <class T>
CBIT_HANDLER cmp_rr(State& s, const isa::Op* op) {
  return compare_values<Sub, T>(s, op, get<T>(s, op->a), get<T>(s, op->b));
}
template <class T>
CBIT_HANDLER cmp_ri(State& s, const isa::Op* op) {
  return compare_values<Sub, T>(s, op, get<T>(s, op->a), static_cast<T>(op->imm));
}
template <class T>
CBIT_HANDLER cmp_rm(State& s, const isa::Op* op) {
  T b;
  if (!cpu::load<T>(s, op, address_of(s, op), b)) return nullptr;
  return compare_values<Sub, T>(s, op, get<T>(s, op->a), b);
}
template <class T>
CBIT_HANDLER cmp_mr(State& s, const isa::Op* op) {
  return compare_memory<Sub, T>(s, op, get<T>(s, op->a));
}
template <class T>
CBIT_HANDLER cmp_mi(State& s, const isa::Op* op) {
  return compare_memory<Sub, T>(s, op, static_cast<T>(op->imm));
}
template <class T>
CBIT_HANDLER test_rr(State& s, const isa::Op* op) {
  return compare_values<And, T>(s, op, get<T>(s, op->a), get<T>(s, op->b));
}
template <class T>
CBIT_HANDLER test_ri(State& s, const isa::Op* op) {
  return compare_values<And, T>(s, op, get<T>(s, op->a), static_cast<T>(op->imm));
}
template <class T>
CBIT_HANDLER test_mr(State& s, const isa::Op* op) {
  return compare_memory<And, T>(s, op, get<T>(s, op->a));
}
template <class T>
CBIT_HANDLER test_mi(State& s, const isa::Op* op) {
  return compare_memory<And, T>(s, op, static_cast<T>(op->imm));
}

// INC and DEC keep CF.
template <class T, bool flagged>
CBIT_HANDLER inc(State& s, const isa::Op* op) {
  const T result = static_cast<T>(get<T>(s, op->a) + 1);
  if constexpr (flagged) {
    constexpr T most_negative = static_cast<T>(T{1} << (bits_of<T> - 1));
    s.flags.of_result(result, (s.flags.carry() ? isa::flag_cf : 0) |
                                  ((result & 0xf) == 0 ? isa::flag_af : 0) |
                                  (result == most_negative ? isa::flag_of : 0));
  }
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class T, bool flagged>
CBIT_HANDLER dec(State& s, const isa::Op* op) {
  const T result = static_cast<T>(get<T>(s, op->a) - 1);
  if constexpr (flagged) {
    constexpr T most_positive = static_cast<T>((T{1} << (bits_of<T> - 1)) - 1);
    s.flags.of_result(result, (s.flags.carry() ? isa::flag_cf : 0) |
                                  ((result & 0xf) == 0xf ? isa::flag_af : 0) |
                                  (result == most_positive ? isa::flag_of : 0));
  }
  put<T>(s, op->dst, result);
  return op + 1;
}
template <class T, bool flagged>
CBIT_HANDLER neg(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  if constexpr (flagged) s.flags.of_difference(T{0}, a);
  put<T>(s, op->dst, static_cast<T>(0 - a));
  return op + 1;
}
template <class T>
CBIT_HANDLER complement(State& s, const isa::Op* op) {
  put<T>(s, op->dst, static_cast<T>(~get<T>(s, op->a)));
  return op + 1;
}

inline constexpr isa::Slot slot_rax = isa::slot_of(isa::Gpr::rax);
inline constexpr isa::Slot slot_rdx = isa::slot_of(isa::Gpr::rdx);
inline constexpr isa::Slot slot_rcx = isa::slot_of(isa::Gpr::rcx);

// rDX:rAX, or AX for bytes.
template <class T>
inline void put_pair(State& s, typename WideOf<T>::Unsigned value) {
  if constexpr (sizeof(T) == 1) {
    put<std::uint16_t>(s, slot_rax, value);
  } else {
    put<T>(s, slot_rax, static_cast<T>(value));
    put<T>(s, slot_rdx, static_cast<T>(value >> bits_of<T>));
  }
}
template <class T>
[[nodiscard]] inline typename WideOf<T>::Unsigned get_pair(const State& s) {
  using Wide = typename WideOf<T>::Unsigned;
  if constexpr (sizeof(T) == 1) return get<std::uint16_t>(s, slot_rax);
  return static_cast<Wide>(static_cast<Wide>(get<T>(s, slot_rdx)) << bits_of<T> | get<T>(s, slot_rax));
}

// CF and OF tell whether the upper half means something.
template <class T>
inline void set_product_flags(Flags& flags, T low, bool overflow) {
  flags.of_result(low, overflow ? isa::flag_cf | isa::flag_of : 0);
}

template <class T, bool flagged>
CBIT_HANDLER mul(State& s, const isa::Op* op) {
  using Wide = typename WideOf<T>::Unsigned;
  const auto product = static_cast<Wide>(static_cast<Wide>(get<T>(s, slot_rax)) * get<T>(s, op->a));
  put_pair<T>(s, product);
  if constexpr (flagged)
    set_product_flags(s.flags, static_cast<T>(product), static_cast<T>(product >> bits_of<T>) != 0);
  return op + 1;
}

template <class T>
[[nodiscard]] inline typename WideOf<T>::Signed signed_product(T a, T b) {
  using Wide = typename WideOf<T>::Signed;
  using Narrow = std::make_signed_t<T>;
  return static_cast<Wide>(static_cast<Wide>(static_cast<Narrow>(a)) * static_cast<Narrow>(b));
}
template <class T>
[[nodiscard]] inline bool fits(typename WideOf<T>::Signed product) {
  return static_cast<std::make_signed_t<T>>(product) == product;
}

template <class T, bool flagged>
CBIT_HANDLER imul(State& s, const isa::Op* op) {
  const auto product = signed_product<T>(get<T>(s, slot_rax), get<T>(s, op->a));
  put_pair<T>(s, static_cast<typename WideOf<T>::Unsigned>(product));
  if constexpr (flagged) set_product_flags(s.flags, static_cast<T>(product), !fits<T>(product));
  return op + 1;
}
template <class T, bool flagged>
CBIT_HANDLER imul_values(State& s, const isa::Op* op, T a, T b) {
  if constexpr (flagged) {
    const auto product = signed_product<T>(a, b);
    set_product_flags(s.flags, static_cast<T>(product), !fits<T>(product));
    put<T>(s, op->dst, static_cast<T>(product));
  } else {
    put<T>(s, op->dst, static_cast<T>(std::uint64_t{a} * b));
  }
  return op + 1;
}
template <class T, bool flagged>
CBIT_HANDLER imul_rr(State& s, const isa::Op* op) {
  return imul_values<T, flagged>(s, op, get<T>(s, op->a), get<T>(s, op->b));
}
template <class T, bool flagged>
CBIT_HANDLER imul_ri(State& s, const isa::Op* op) {
  return imul_values<T, flagged>(s, op, get<T>(s, op->a), static_cast<T>(op->imm));
}

// #DE of this instruction.
[[nodiscard]] const isa::Op* raise_divide_error(State& s, const isa::Op* op);

// Quotient and remainder: rAX and rDX, or AL and AH.
template <class T>
inline void put_division(State& s, T quotient, T remainder) {
  put<T>(s, slot_rax, quotient);
  put<T>(s, sizeof(T) == 1 ? slot_rax + 1 : slot_rdx, remainder);
}
template <class T>
CBIT_HANDLER div(State& s, const isa::Op* op) {
  using Wide = typename WideOf<T>::Unsigned;
  const T divisor = get<T>(s, op->a);
  const Wide dividend = get_pair<T>(s);
  if (divisor == 0 || static_cast<T>(dividend >> bits_of<T>) >= divisor) return raise_divide_error(s, op);
  if constexpr (sizeof(T) == 8) {
    // Most dividends have 64 bits, whose division is much cheaper.
    if (dividend >> 64 == 0) {
      const auto low = static_cast<std::uint64_t>(dividend);
      put_division<T>(s, low / divisor, low % divisor);
      return op + 1;
    }
  }
  put_division<T>(s, static_cast<T>(dividend / divisor), static_cast<T>(dividend % divisor));
  return op + 1;
}
template <class T>
CBIT_HANDLER idiv(State& s, const isa::Op* op) {
  using Wide = typename WideOf<T>::Signed;
  using Narrow = std::make_signed_t<T>;
  const auto divisor = static_cast<Narrow>(get<T>(s, op->a));
  const auto dividend = static_cast<Wide>(get_pair<T>(s));
  constexpr auto lowest = static_cast<Wide>(Wide{1} << (2 * bits_of<T> - 2)) * -2;
  if (divisor == 0 || (divisor == -1 && dividend == lowest)) return raise_divide_error(s, op);
  const auto quotient = static_cast<Wide>(dividend / divisor);
  if (static_cast<Narrow>(quotient) != quotient) return raise_divide_error(s, op);
  put_division<T>(s, static_cast<T>(quotient), static_cast<T>(dividend % divisor));
  return op + 1;
}

// dst becomes b if a equals the accumulator; else a becomes the accumulator. A register then stays as it is,
// its upper half included; a temporary gets a, to be stored.
template <class T>
CBIT_HANDLER cmpxchg(State& s, const isa::Op* op) {
  const T old = get<T>(s, op->a);
  const T accumulator = get<T>(s, slot_rax);
  s.flags.of_difference(accumulator, old);
  if (accumulator == old) {
    put<T>(s, op->dst, get<T>(s, op->b));
  } else {
    if (op->dst != op->a) put<T>(s, op->dst, old);
    put<T>(s, slot_rax, old);
  }
  return op + 1;
}

}  // namespace cbit::cpu::ops
