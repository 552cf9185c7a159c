// The three floating-point formats of an x86 processor, and what a value of any of them means.
//
// AMD APM vol. 1, 4.4.7 and 6.3 (formats, number encodings, unsupported encodings).
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>

namespace cbit::cpu::fp {

// Binary interchange formats: the integer bit of the significand follows from the exponent.
struct Float32 {
  using Bits = std::uint32_t;
  static constexpr int precision = 24;  // bits of the significand, the integer bit included
  static constexpr int exponent_max = 127;
  Bits bits = 0;
  friend bool operator==(const Float32&, const Float32&) = default;
};

struct Float64 {
  using Bits = std::uint64_t;
  static constexpr int precision = 53;
  static constexpr int exponent_max = 1023;
  Bits bits = 0;
  friend bool operator==(const Float64&, const Float64&) = default;
};

// x87 double-extended: the integer bit (63 of the significand) is explicit.
struct Float80 {
  static constexpr int precision = 64;
  static constexpr int exponent_max = 16383;
  std::uint64_t significand = 0;
  std::uint16_t sign_exponent = 0;  // bit 15 is the sign
  friend bool operator==(const Float80&, const Float80&) = default;
};

template <class F>
concept Format = std::same_as<F, Float32> || std::same_as<F, Float64> || std::same_as<F, Float80>;

template <Format F>
inline constexpr int exponent_min = 1 - F::exponent_max;  // of a normal number
template <Format F>
inline constexpr int exponent_bias = F::exponent_max;

inline constexpr std::uint64_t integer_bit = std::uint64_t{1} << 63;
inline constexpr std::uint64_t quiet_bit = std::uint64_t{1} << 62;

enum class Kind : std::uint8_t {
  zero,
  denormal,  // pseudo-denormals, too
  normal,
  infinity,
  quiet_nan,
  signaling_nan,
  unsupported,  // unnormal, pseudo-infinity, pseudo-NaN: extended precision only
};

// A value of any format. Of a finite number that is not zero it is significand × 2^(exponent − 63), where the
// significand's top bit is set; of a NaN, the payload is left-justified below a set integer bit.
struct Unpacked {
  Kind kind = Kind::zero;
  bool sign = false;
  int exponent = 0;
  std::uint64_t significand = 0;

  constexpr Unpacked() = default;
  constexpr Unpacked(Kind k, bool s, int e, std::uint64_t m)
      : kind{k}, sign{s}, exponent{e}, significand{m} {}
  template <Format F>
  constexpr Unpacked(F value);  // NOLINT(google-explicit-constructor): each value means exactly one thing

  static constexpr Unpacked from_integer(std::int64_t value) {
    if (value == 0) return {};
    const auto bits = static_cast<std::uint64_t>(value);
    const std::uint64_t magnitude = value < 0 ? 0 - bits : bits;
    const int zeros = std::countl_zero(magnitude);
    return {Kind::normal, value < 0, 63 - zeros, magnitude << zeros};
  }

  [[nodiscard]] constexpr bool is_nan() const {
    return kind == Kind::quiet_nan || kind == Kind::signaling_nan;
  }
  [[nodiscard]] constexpr bool is_finite() const { return kind <= Kind::normal; }
};

// A denormal number, whose significand lacks its integer bit, made an Unpacked.
constexpr Unpacked unpack_denormal(bool sign, int exponent, std::uint64_t significand) {
  if (significand == 0) return {Kind::zero, sign, 0, 0};
  const int zeros = std::countl_zero(significand);
  return {Kind::denormal, sign, exponent - zeros, significand << zeros};
}

constexpr Unpacked unpack_special(bool sign, std::uint64_t significand) {
  if (significand == integer_bit) return {Kind::infinity, sign, 0, significand};
  return {(significand & quiet_bit) != 0 ? Kind::quiet_nan : Kind::signaling_nan, sign, 0, significand};
}

template <Format F>
constexpr Unpacked::Unpacked(F value) {
  constexpr int exponent_mask = 2 * F::exponent_max + 1;
  int biased = 0;
  std::uint64_t fraction = 0;  // the significand without the integer bit, unless that is explicit
  bool negative = false;
  if constexpr (std::same_as<F, Float80>) {
    biased = value.sign_exponent & exponent_mask;
    negative = value.sign_exponent >> 15 != 0;
    fraction = value.significand;
    if (biased != 0 && (fraction & integer_bit) == 0) {
      *this = {Kind::unsupported, negative, 0, fraction};
      return;
    }
  } else {
    constexpr int fraction_bits = F::precision - 1;
    biased = static_cast<int>(value.bits >> fraction_bits) & exponent_mask;
    negative = value.bits >> (8 * sizeof value - 1) != 0;
    fraction = std::uint64_t{value.bits} << (64 - fraction_bits) >> 1;
  }
  if (biased == 0) [[unlikely]] {
    *this = unpack_denormal(negative, exponent_min<F>, fraction);
  } else if (biased == exponent_mask) [[unlikely]] {
    *this = unpack_special(negative, fraction | integer_bit);
  } else {
    kind = Kind::normal;
    sign = negative;
    exponent = biased - exponent_bias<F>;
    significand = fraction | integer_bit;
  }
}

// Encodes: the significand's top bit is set exactly if the number is normal, infinite or a NaN.
template <Format F>
constexpr F pack(bool sign, int biased_exponent, std::uint64_t significand) {
  if constexpr (std::same_as<F, Float80>) {
    return {significand, static_cast<std::uint16_t>((sign ? 0x8000 : 0) | biased_exponent)};
  } else {
    using Bits = typename F::Bits;
    constexpr int fraction_bits = F::precision - 1;
    const auto fraction = static_cast<Bits>((significand & ~integer_bit) >> (63 - fraction_bits));
    return {static_cast<Bits>(Bits{sign} << (8 * sizeof(Bits) - 1) |
                              static_cast<Bits>(biased_exponent) << fraction_bits | fraction)};
  }
}

template <Format F>
constexpr F zero(bool sign) {
  return pack<F>(sign, 0, 0);
}
template <Format F>
constexpr F infinity(bool sign) {
  return pack<F>(sign, 2 * F::exponent_max + 1, integer_bit);
}
template <Format F>
constexpr F largest(bool sign, int significand_bits = F::precision) {
  return pack<F>(sign, 2 * F::exponent_max, ~std::uint64_t{0} << (64 - significand_bits));
}
// The NaN that stands for a masked invalid operation ("real indefinite").
template <Format F>
constexpr F indefinite() {
  return pack<F>(true, 2 * F::exponent_max + 1, integer_bit | quiet_bit);
}
template <Format F>
constexpr F quieted(const Unpacked& nan) {
  return pack<F>(nan.sign, 2 * F::exponent_max + 1, nan.significand | quiet_bit);
}

static_assert(zero<Float32>(true).bits == 0x8000'0000 && infinity<Float32>(false).bits == 0x7f80'0000);
static_assert(indefinite<Float32>().bits == 0xffc0'0000 && largest<Float32>(false).bits == 0x7f7f'ffff);
static_assert(indefinite<Float64>().bits == 0xfff8'0000'0000'0000);
static_assert(indefinite<Float80>() == Float80{0xc000'0000'0000'0000, 0xffff});

}  // namespace cbit::cpu::fp
