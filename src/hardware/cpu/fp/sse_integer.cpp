// Packed integers: arithmetic, comparison, shifts, logic.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

template <class T>
constexpr T saturated(int value) {
  return static_cast<T>(std::clamp<int>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

template <class T>
constexpr T wrapping_add(T a, T b) {
  return static_cast<T>(a + b);
}
template <class T>
constexpr T wrapping_subtract(T a, T b) {
  return static_cast<T>(a - b);
}
template <class T>
constexpr T saturating_add(T a, T b) {
  return saturated<T>(a + b);
}
template <class T>
constexpr T saturating_subtract(T a, T b) {
  return saturated<T>(a - b);
}
template <class T>
constexpr T average(T a, T b) {
  return static_cast<T>((a + b + 1) >> 1);
}
template <class T>
constexpr T larger(T a, T b) {
  return std::max(a, b);
}
template <class T>
constexpr T smaller(T a, T b) {
  return std::min(a, b);
}
template <class T>
constexpr T if_equal(T a, T b) {
  return a == b ? static_cast<T>(-1) : T{0};
}
template <class T>
constexpr T if_greater(T a, T b) {
  return a > b ? T{-1} : T{0};
}
template <class T>
constexpr T with_sign_of(T a, T b) {
  using Unsigned = std::make_unsigned_t<T>;
  return b == 0 ? T{0} : b > 0 ? a : static_cast<T>(0u - static_cast<Unsigned>(a));
}
template <class T>
constexpr T magnitude_of(T a) {
  return with_sign_of<T>(a, a);
}

constexpr I16 multiply_high(I16 a, I16 b) { return static_cast<I16>(a * b >> 16); }
constexpr U16 multiply_high_unsigned(U16 a, U16 b) { return static_cast<U16>(U32{a} * b >> 16); }
constexpr U16 multiply_low(U16 a, U16 b) { return static_cast<U16>(U32{a} * b); }
constexpr I16 multiply_high_rounded(I16 a, I16 b) { return static_cast<I16>(((a * b >> 14) + 1) >> 1); }
constexpr U32 multiply_low_double(U32 a, U32 b) { return a * b; }
constexpr U64 multiply_even_unsigned(U64 a, U64 b) { return U64{static_cast<U32>(a)} * static_cast<U32>(b); }
constexpr I64 multiply_even(I64 a, I64 b) { return I64{static_cast<I32>(a)} * static_cast<I32>(b); }

constexpr U64 and_of(U64 a, U64 b) { return a & b; }
constexpr U64 and_not_of(U64 a, U64 b) { return ~a & b; }
constexpr U64 or_of(U64 a, U64 b) { return a | b; }
constexpr U64 xor_of(U64 a, U64 b) { return a ^ b; }

// Two 16-bit products, added; only −32768 four times overflows, and wraps.
constexpr U32 add_products(U32 a, U32 b) {
  const auto product = [](U32 x, U32 y) {
    return static_cast<U32>(I32{static_cast<I16>(x)} * I32{static_cast<I16>(y)});
  };
  return product(a, b) + product(a >> 16, b >> 16);
}

// Unsigned bytes of the first operand, signed ones of the second.
constexpr I16 add_byte_products(I16 a, I16 b) {
  const int low = static_cast<U8>(a) * static_cast<I8>(b);
  const int high = static_cast<U8>(a >> 8) * static_cast<I8>(b >> 8);
  return saturated<I16>(low + high);
}

constexpr U64 sum_of_differences(U64 a, U64 b) {
  U64 sum = 0;
  for (int shift = 0; shift < 64; shift += 8) {
    const int x = static_cast<U8>(a >> shift);
    const int y = static_cast<U8>(b >> shift);
    sum += static_cast<U64>(x > y ? x - y : y - x);
  }
  return sum;
}

Vec128 mpsadbw(const Vec128& dst, const Vec128& src, U8 imm, SseContext&) {
  const auto a = dst.as<U8>();
  const auto b = src.as<U8>();
  const std::size_t from_a = (imm >> 2 & 1) * 4u;
  const std::size_t from_b = (imm & 3) * 4u;
  std::array<U16, 8> sums{};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      const int difference = a[from_a + i + k] - b[from_b + k];
      sums[i] = static_cast<U16>(sums[i] + (difference < 0 ? -difference : difference));
    }
  }
  return Vec128::of(sums);
}

Vec128 phminposuw(const Vec128&, const Vec128& src, U8, SseContext&) {
  const auto lanes = src.as<U16>();
  const auto least = std::min_element(lanes.begin(), lanes.end());
  return general(*least | static_cast<U64>(least - lanes.begin()) << 16);
}

// Neighbours of the first operand, then of the second.
template <class V, auto Function, class T>
V horizontal(const V& dst, const V& src, U8, SseContext&) {
  const auto a = dst.template as<T>();
  const auto b = src.template as<T>();
  typename V::template Lanes<T> result{};
  constexpr std::size_t half = result.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    result[i] = Function(a[2 * i], a[2 * i + 1]);
    result[half + i] = Function(b[2 * i], b[2 * i + 1]);
  }
  return V::of(result);
}
template <class T, auto Function>
constexpr SseRow horizontal_row(SseOp op, std::string_view name) {
  return {op, name, horizontal<Vec128, Function, T>, horizontal<Vec64, Function, T>};
}

template <class T>
constexpr T shifted_left(T value, U64 count) {
  return count < 8 * sizeof(T) ? static_cast<T>(value << count) : T{0};
}
template <class T>
constexpr T shifted_right(T value, U64 count) {
  constexpr U64 bits = 8 * sizeof(T);
  if (std::is_signed_v<T>) return static_cast<T>(value >> std::min(count, bits - 1));
  return count < bits ? static_cast<T>(value >> count) : T{0};
}
template <class V, auto Function, class T>
V shift(const V& dst, const V& src, U8, SseContext&) {
  auto lanes = dst.template as<T>();
  for (T& lane : lanes) lane = Function(lane, src.quads[0]);
  return V::of(lanes);
}
template <class T, auto Function>
constexpr SseRow shift_row(SseOp op, std::string_view name) {
  return {op, name, shift<Vec128, Function, T>, shift<Vec64, Function, T>};
}

Vec128 ptest(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  const auto both = (dst.quads[0] & src.quads[0]) | (dst.quads[1] & src.quads[1]);
  const auto rest = (~dst.quads[0] & src.quads[0]) | (~dst.quads[1] & src.quads[1]);
  context.flags = (both == 0 ? zero_flag : 0u) | (rest == 0 ? carry_flag : 0u);
  return dst;
}

template <class T, auto Function>
constexpr SseRow magnitude_row(SseOp op, std::string_view name) {
  return {op, name, each_source_lane<Vec128, Function, T>, each_source_lane<Vec64, Function, T>};
}

constexpr SseRow integer_rows[] = {
    both_sizes<U8, wrapping_add<U8>>(SseOp::paddb, "paddb"),
    both_sizes<U16, wrapping_add<U16>>(SseOp::paddw, "paddw"),
    both_sizes<U32, wrapping_add<U32>>(SseOp::paddd, "paddd"),
    both_sizes<U64, wrapping_add<U64>>(SseOp::paddq, "paddq"),
    both_sizes<I8, saturating_add<I8>>(SseOp::paddsb, "paddsb"),
    both_sizes<I16, saturating_add<I16>>(SseOp::paddsw, "paddsw"),
    both_sizes<U8, saturating_add<U8>>(SseOp::paddusb, "paddusb"),
    both_sizes<U16, saturating_add<U16>>(SseOp::paddusw, "paddusw"),
    both_sizes<U8, wrapping_subtract<U8>>(SseOp::psubb, "psubb"),
    both_sizes<U16, wrapping_subtract<U16>>(SseOp::psubw, "psubw"),
    both_sizes<U32, wrapping_subtract<U32>>(SseOp::psubd, "psubd"),
    both_sizes<U64, wrapping_subtract<U64>>(SseOp::psubq, "psubq"),
    both_sizes<I8, saturating_subtract<I8>>(SseOp::psubsb, "psubsb"),
    both_sizes<I16, saturating_subtract<I16>>(SseOp::psubsw, "psubsw"),
    both_sizes<U8, saturating_subtract<U8>>(SseOp::psubusb, "psubusb"),
    both_sizes<U16, saturating_subtract<U16>>(SseOp::psubusw, "psubusw"),

    both_sizes<I16, multiply_high>(SseOp::pmulhw, "pmulhw"),
    both_sizes<U16, multiply_low>(SseOp::pmullw, "pmullw"),
    both_sizes<U16, multiply_high_unsigned>(SseOp::pmulhuw, "pmulhuw"),
    both_sizes<U64, multiply_even_unsigned>(SseOp::pmuludq, "pmuludq"),
    both_sizes<U32, add_products>(SseOp::pmaddwd, "pmaddwd"),
    both_sizes<I16, add_byte_products>(SseOp::pmaddubsw, "pmaddubsw"),
    both_sizes<I16, multiply_high_rounded>(SseOp::pmulhrsw, "pmulhrsw"),
    xmm_only<U32, multiply_low_double>(SseOp::pmulld, "pmulld"),
    xmm_only<I64, multiply_even>(SseOp::pmuldq, "pmuldq"),

    both_sizes<U8, average<U8>>(SseOp::pavgb, "pavgb"),
    both_sizes<U16, average<U16>>(SseOp::pavgw, "pavgw"),
    both_sizes<U64, sum_of_differences>(SseOp::psadbw, "psadbw"),
    {SseOp::mpsadbw, "mpsadbw", mpsadbw},
    {SseOp::phminposuw, "phminposuw", phminposuw},

    both_sizes<U8, larger<U8>>(SseOp::pmaxub, "pmaxub"),
    both_sizes<I16, larger<I16>>(SseOp::pmaxsw, "pmaxsw"),
    xmm_only<I8, larger<I8>>(SseOp::pmaxsb, "pmaxsb"),
    xmm_only<U16, larger<U16>>(SseOp::pmaxuw, "pmaxuw"),
    xmm_only<U32, larger<U32>>(SseOp::pmaxud, "pmaxud"),
    xmm_only<I32, larger<I32>>(SseOp::pmaxsd, "pmaxsd"),
    both_sizes<U8, smaller<U8>>(SseOp::pminub, "pminub"),
    both_sizes<I16, smaller<I16>>(SseOp::pminsw, "pminsw"),
    xmm_only<I8, smaller<I8>>(SseOp::pminsb, "pminsb"),
    xmm_only<U16, smaller<U16>>(SseOp::pminuw, "pminuw"),
    xmm_only<U32, smaller<U32>>(SseOp::pminud, "pminud"),
    xmm_only<I32, smaller<I32>>(SseOp::pminsd, "pminsd"),

    both_sizes<U8, if_equal<U8>>(SseOp::pcmpeqb, "pcmpeqb"),
    both_sizes<U16, if_equal<U16>>(SseOp::pcmpeqw, "pcmpeqw"),
    both_sizes<U32, if_equal<U32>>(SseOp::pcmpeqd, "pcmpeqd"),
    xmm_only<U64, if_equal<U64>>(SseOp::pcmpeqq, "pcmpeqq"),
    both_sizes<I8, if_greater<I8>>(SseOp::pcmpgtb, "pcmpgtb"),
    both_sizes<I16, if_greater<I16>>(SseOp::pcmpgtw, "pcmpgtw"),
    both_sizes<I32, if_greater<I32>>(SseOp::pcmpgtd, "pcmpgtd"),
    xmm_only<I64, if_greater<I64>>(SseOp::pcmpgtq, "pcmpgtq"),

    both_sizes<I8, with_sign_of<I8>>(SseOp::psignb, "psignb"),
    both_sizes<I16, with_sign_of<I16>>(SseOp::psignw, "psignw"),
    both_sizes<I32, with_sign_of<I32>>(SseOp::psignd, "psignd"),
    magnitude_row<I8, magnitude_of<I8>>(SseOp::pabsb, "pabsb"),
    magnitude_row<I16, magnitude_of<I16>>(SseOp::pabsw, "pabsw"),
    magnitude_row<I32, magnitude_of<I32>>(SseOp::pabsd, "pabsd"),

    horizontal_row<U16, wrapping_add<U16>>(SseOp::phaddw, "phaddw"),
    horizontal_row<U32, wrapping_add<U32>>(SseOp::phaddd, "phaddd"),
    horizontal_row<I16, saturating_add<I16>>(SseOp::phaddsw, "phaddsw"),
    horizontal_row<U16, wrapping_subtract<U16>>(SseOp::phsubw, "phsubw"),
    horizontal_row<U32, wrapping_subtract<U32>>(SseOp::phsubd, "phsubd"),
    horizontal_row<I16, saturating_subtract<I16>>(SseOp::phsubsw, "phsubsw"),

    shift_row<U16, shifted_left<U16>>(SseOp::psllw, "psllw"),
    shift_row<U32, shifted_left<U32>>(SseOp::pslld, "pslld"),
    shift_row<U64, shifted_left<U64>>(SseOp::psllq, "psllq"),
    shift_row<U16, shifted_right<U16>>(SseOp::psrlw, "psrlw"),
    shift_row<U32, shifted_right<U32>>(SseOp::psrld, "psrld"),
    shift_row<U64, shifted_right<U64>>(SseOp::psrlq, "psrlq"),
    shift_row<I16, shifted_right<I16>>(SseOp::psraw, "psraw"),
    shift_row<I32, shifted_right<I32>>(SseOp::psrad, "psrad"),

    both_sizes<U64, and_of>(SseOp::pand, "pand"),
    both_sizes<U64, and_not_of>(SseOp::pandn, "pandn"),
    both_sizes<U64, or_of>(SseOp::por, "por"),
    both_sizes<U64, xor_of>(SseOp::pxor, "pxor"),
    {SseOp::ptest, "ptest", ptest, nullptr, SseResult::flags},
};

}  // namespace

std::span<const SseRow> sse_integer_rows() { return integer_rows; }

}  // namespace cbit::cpu::fp
