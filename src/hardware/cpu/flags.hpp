// The status flags between the operation that sets them and one that asks for them (isa::FlagKind).
//
// APM vol. 1, 3.1.4. A plain value.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "isa/registers.hpp"

namespace cbit::cpu {

using isa::Cond;
using isa::FlagKind;

template <class T>
inline constexpr unsigned bits_of = 8 * sizeof(T);

template <class T>
[[nodiscard]] constexpr std::uint64_t sign_extended(T value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::make_signed_t<T>>(value)));
}

// sub8 to sub64, add8 to add64, by type.
template <class T>
inline constexpr FlagKind sub_kind = static_cast<FlagKind>(std::countr_zero(sizeof(T)));
template <class T>
inline constexpr FlagKind add_kind =
    static_cast<FlagKind>(static_cast<unsigned>(FlagKind::add8) + std::countr_zero(sizeof(T)));
static_assert(sub_kind<std::uint32_t> == FlagKind::sub32 && add_kind<std::uint64_t> == FlagKind::add64);

[[nodiscard]] constexpr bool has_even_parity(std::uint64_t value) {
  return std::popcount(static_cast<std::uint8_t>(value)) % 2 == 0;
}

struct Flags {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  FlagKind kind = FlagKind::flags;

  template <class T>
  void of_difference(T left, T right) {
    a = sign_extended(left);
    b = sign_extended(right);
    kind = sub_kind<T>;
  }
  template <class T>
  void of_sum(T sum, T addend) {
    a = sign_extended(sum);
    b = sign_extended(addend);
    kind = add_kind<T>;
  }
  // AND, OR, XOR, TEST: CF = OF = AF = 0.
  template <class T>
  void of_logic(T result) {
    a = sign_extended(result);
    b = 0;
    kind = sub_kind<T>;
  }
  // `others`: CF, AF, OF in their places.
  template <class T>
  void of_result(T result, std::uint32_t others) {
    a = sign_extended(result);
    b = others;
    kind = FlagKind::result;
  }
  void set(std::uint32_t image) {
    b = image & isa::status_flags;
    kind = FlagKind::flags;
  }

  [[nodiscard]] bool is_difference() const { return kind <= FlagKind::sub64; }
  [[nodiscard]] bool is_sum() const { return kind >= FlagKind::add8 && kind <= FlagKind::add64; }
  [[nodiscard]] unsigned bits() const { return 8u << (static_cast<unsigned>(kind) & 3); }
  // Whose parity and sign the flags tell; not of FlagKind::flags.
  [[nodiscard]] std::uint64_t result() const { return is_difference() ? a - b : a; }

  [[nodiscard]] bool carry() const { return kind <= FlagKind::add64 ? a < b : (b & isa::flag_cf) != 0; }
  [[nodiscard]] bool zero() const {
    if (is_difference()) return a == b;
    return kind == FlagKind::flags ? (b & isa::flag_zf) != 0 : a == 0;
  }
  [[nodiscard]] bool sign() const {
    if (is_difference()) return ((a - b) >> (bits() - 1) & 1) != 0;
    return kind == FlagKind::flags ? (b & isa::flag_sf) != 0 : a >> 63 != 0;
  }
  [[nodiscard]] bool overflow() const {
    if (is_difference()) return (((a ^ b) & (a ^ (a - b))) >> (bits() - 1) & 1) != 0;
    if (is_sum()) return (sum_overflow() >> (bits() - 1) & 1) != 0;
    return (b & isa::flag_of) != 0;
  }
  [[nodiscard]] bool parity() const {
    return kind == FlagKind::flags ? (b & isa::flag_pf) != 0 : has_even_parity(result());
  }
  [[nodiscard]] bool adjust() const {
    if (kind <= FlagKind::add64) return ((a ^ b ^ (a - b)) & 0x10) != 0;
    return (b & isa::flag_af) != 0;
  }
  // Signed "less": SF differs from OF. As bits of one word: g++ 12 at -O2 forgets the sign where two truth
  // values of bit tests are compared.
  [[nodiscard]] bool less() const {
    if (is_difference()) return static_cast<std::int64_t>(a) < static_cast<std::int64_t>(b);
    if (is_sum()) return ((a ^ sum_overflow()) >> (bits() - 1) & 1) != 0;
    const std::uint64_t sign_bit = kind == FlagKind::flags ? b >> 7 : a >> 63;
    return ((sign_bit ^ b >> 11) & 1) != 0;
  }

  // All six in their places in EFLAGS.
  [[nodiscard]] std::uint32_t image() const {
    if (kind == FlagKind::flags) return static_cast<std::uint32_t>(b);
    return (carry() ? isa::flag_cf : 0) | (parity() ? isa::flag_pf : 0) | (adjust() ? isa::flag_af : 0) |
           (zero() ? isa::flag_zf : 0) | (sign() ? isa::flag_sf : 0) | (overflow() ? isa::flag_of : 0);
  }

 private:
  // The top bit of the width tells whether a sum overflowed.
  [[nodiscard]] std::uint64_t sum_overflow() const { return (a ^ (a - b)) & (a ^ b); }
};

template <Cond cond>
[[nodiscard]] inline bool holds(const Flags& flags) {
  constexpr auto base = static_cast<Cond>(static_cast<unsigned>(cond) & ~1u);
  constexpr bool negated = cond != base;
  bool value = false;
  if constexpr (base == Cond::o) value = flags.overflow();
  if constexpr (base == Cond::b) value = flags.carry();
  if constexpr (base == Cond::z) value = flags.zero();
  if constexpr (base == Cond::be) value = flags.carry() || flags.zero();
  if constexpr (base == Cond::s) value = flags.sign();
  if constexpr (base == Cond::p) value = flags.parity();
  if constexpr (base == Cond::l) value = flags.less();
  if constexpr (base == Cond::le) value = flags.less() || flags.zero();
  return value != negated;
}

// The conditions that a comparison of two values of one width decides.
template <Cond cond, class T>
[[nodiscard]] constexpr bool compares(T a, T b) {
  using Signed = std::make_signed_t<T>;
  const auto signed_a = static_cast<Signed>(a);
  const auto signed_b = static_cast<Signed>(b);
  if constexpr (cond == Cond::b) return a < b;
  if constexpr (cond == Cond::nb) return a >= b;
  if constexpr (cond == Cond::z) return a == b;
  if constexpr (cond == Cond::nz) return a != b;
  if constexpr (cond == Cond::be) return a <= b;
  if constexpr (cond == Cond::nbe) return a > b;
  if constexpr (cond == Cond::l) return signed_a < signed_b;
  if constexpr (cond == Cond::nl) return signed_a >= signed_b;
  if constexpr (cond == Cond::le) return signed_a <= signed_b;
  if constexpr (cond == Cond::nle) return signed_a > signed_b;
}

// Those that a result decides.
template <Cond cond, class T>
[[nodiscard]] constexpr bool tells(T result) {
  using Signed = std::make_signed_t<T>;
  if constexpr (cond == Cond::z) return result == 0;
  if constexpr (cond == Cond::nz) return result != 0;
  if constexpr (cond == Cond::s) return static_cast<Signed>(result) < 0;
  if constexpr (cond == Cond::ns) return static_cast<Signed>(result) >= 0;
}

}  // namespace cbit::cpu
