// Moving lanes about: shuffles, packing, interleaving, blends, extension, insertion, extraction.
#include <algorithm>
#include <limits>

#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

// --- Shuffles.

using Whole128 = unsigned __int128;

// `low` and above it `high`, shifted right.
template <class T>
T shifted_pair(T high, T low, unsigned bits) {
  constexpr unsigned size = 8 * sizeof(T);
  if (bits == 0) return low;
  if (bits < size) return low >> bits | high << (size - bits);
  return bits < 2 * size ? high >> (bits - size) : T{0};
}
template <class V, class Whole>
V shifted_bytes(const V& high, const V& low, unsigned count) {
  const Whole result = shifted_pair(high.template as<Whole>()[0], low.template as<Whole>()[0], 8 * count);
  return V::of(std::array{result});
}

Vec128 pslldq(const Vec128& dst, const Vec128&, U8 imm, SseContext&) {
  return imm > 15 ? Vec128{} : shifted_bytes<Vec128, Whole128>(dst, Vec128{}, 16u - imm);
}
Vec128 psrldq(const Vec128& dst, const Vec128&, U8 imm, SseContext&) {
  return shifted_bytes<Vec128, Whole128>(Vec128{}, dst, imm);
}
template <class V, class Whole>
V palignr(const V& dst, const V& src, U8 imm, SseContext&) {
  return shifted_bytes<V, Whole>(dst, src, imm);
}

template <class V>
V pshufb(const V& dst, const V& src, U8, SseContext&) {
  const auto from = dst.template as<U8>();
  auto result = src.template as<U8>();
  for (U8& lane : result) lane = (lane & 0x80) != 0 ? U8{0} : from[lane % from.size()];
  return V::of(result);
}

// Four lanes from `first` on, each chosen from these four by two bits.
template <class V, class T, std::size_t First>
V shuffle_four(const V&, const V& src, U8 imm, SseContext&) {
  const auto from = src.template as<T>();
  auto result = from;
  for (std::size_t i = 0; i < 4; ++i) result[First + i] = from[First + (imm >> (2 * i) & 3u)];
  return V::of(result);
}

Vec128 shufps(const Vec128& dst, const Vec128& src, U8 imm, SseContext&) {
  const auto a = dst.as<U32>();
  const auto b = src.as<U32>();
  return Vec128::of(std::array{a[imm & 3u], a[imm >> 2 & 3u], b[imm >> 4 & 3u], b[imm >> 6 & 3u]});
}
Vec128 shufpd(const Vec128& dst, const Vec128& src, U8 imm, SseContext&) {
  return {{dst.quads[imm & 1u], src.quads[imm >> 1 & 1u]}};
}

// --- Packing and interleaving.

template <class V, class From, class To>
V packed(const V& dst, const V& src, U8, SseContext&) {
  const auto a = dst.template as<From>();
  const auto b = src.template as<From>();
  const auto saturated = [](From value) {
    return static_cast<To>(
        std::clamp<From>(value, std::numeric_limits<To>::min(), std::numeric_limits<To>::max()));
  };
  typename V::template Lanes<To> result{};
  for (std::size_t i = 0; i < a.size(); ++i) {
    result[i] = saturated(a[i]);
    result[a.size() + i] = saturated(b[i]);
  }
  return V::of(result);
}

template <class V, class T, bool High>
V interleaved(const V& dst, const V& src, U8, SseContext&) {
  const auto a = dst.template as<T>();
  const auto b = src.template as<T>();
  typename V::template Lanes<T> result{};
  constexpr std::size_t half = result.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    result[2 * i] = a[(High ? half : 0) + i];
    result[2 * i + 1] = b[(High ? half : 0) + i];
  }
  return V::of(result);
}

// --- Blends.

template <class T>
Vec128 blended(const Vec128& dst, const Vec128& src, U8 imm, SseContext&) {
  auto result = dst.as<T>();
  const auto from = src.as<T>();
  for (std::size_t i = 0; i < result.size(); ++i) {
    if ((imm >> i & 1) != 0) result[i] = from[i];
  }
  return Vec128::of(result);
}

// By the top bit of each lane of XMM0.
template <class T>
Vec128 blended_by_xmm0(const Vec128& dst, const Vec128& src, U8, SseContext& context) {
  auto result = dst.as<T>();
  const auto from = src.as<T>();
  const auto mask = context.xmm0.as<T>();
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (mask[i] >> (8 * sizeof(T) - 1) != 0) result[i] = from[i];
  }
  return Vec128::of(result);
}

// --- Extension: PMOVSX with signed, PMOVZX with unsigned lanes.

template <class From, class To>
Vec128 extended(const Vec128&, const Vec128& src, U8, SseContext&) {
  const auto from = src.as<From>();
  Vec128::Lanes<To> result{};
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = from[i];
  return Vec128::of(result);
}

// --- Insertion and extraction.

template <class V, class T>
V inserted(const V& dst, const V& src, U8 imm, SseContext&) {
  constexpr std::size_t count = sizeof(V) / sizeof(T);
  return dst.with(imm % count, src.template lane<T>(0));
}
template <class V, class T>
V extracted(const V&, const V& src, U8 imm, SseContext&) {
  constexpr std::size_t count = sizeof(V) / sizeof(T);
  return {{src.template lane<T>(imm % count)}};
}

Vec128 insertps(const Vec128& dst, const Vec128& src, U8 imm, SseContext&) {
  auto result = dst.as<U32>();
  result[imm >> 4 & 3u] = src.lane<U32>(imm >> 6);
  for (std::size_t i = 0; i < result.size(); ++i) {
    if ((imm >> i & 1) != 0) result[i] = 0;
  }
  return Vec128::of(result);
}

template <class V, class T>
V sign_mask(const V&, const V& src, U8, SseContext&) {
  const auto lanes = src.template as<T>();
  U64 mask = 0;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    mask |= static_cast<U64>(lanes[i] >> (8 * sizeof(T) - 1)) << i;
  }
  return {{mask}};
}

// The multiplication brings the eight sign bits together in the top byte.
template <class V>
V byte_sign_mask(const V&, const V& src, U8, SseContext&) {
  U64 mask = 0;
  for (std::size_t i = 0; i < src.quads.size(); ++i) {
    mask |= (src.quads[i] & 0x8080'8080'8080'8080) * 0x0002'0408'1020'4081 >> 56 << (8 * i);
  }
  return {{mask}};
}

// --- Moves between registers.

template <class T>
Vec128 low_lane_replaced(const Vec128& dst, const Vec128& src, U8, SseContext&) {
  return dst.with(0, src.lane<T>(0));
}
Vec128 movq(const Vec128&, const Vec128& src, U8, SseContext&) { return {{src.quads[0], 0}}; }
Vec128 movhps(const Vec128& dst, const Vec128& src, U8, SseContext&) {
  return {{dst.quads[0], src.quads[0]}};
}
Vec128 movhlps(const Vec128& dst, const Vec128& src, U8, SseContext&) {
  return {{src.quads[1], dst.quads[1]}};
}
Vec128 movddup(const Vec128&, const Vec128& src, U8, SseContext&) { return {{src.quads[0], src.quads[0]}}; }
template <std::size_t Odd>
Vec128 movsdup(const Vec128&, const Vec128& src, U8, SseContext&) {
  const auto lanes = src.as<U32>();
  return Vec128::of(std::array{lanes[Odd], lanes[Odd], lanes[2 + Odd], lanes[2 + Odd]});
}

template <class From, class To>
constexpr SseRow pack_row(SseOp op, std::string_view name) {
  return {op, name, packed<Vec128, From, To>, packed<Vec64, From, To>};
}
template <class T, bool High>
constexpr SseRow interleave_row(SseOp op, std::string_view name) {
  return {op, name, interleaved<Vec128, T, High>, interleaved<Vec64, T, High>};
}
template <class T>
constexpr SseRow extract_row(SseOp op, std::string_view name) {
  return {op, name, extracted<Vec128, T>, nullptr, SseResult::general};
}

constexpr SseRow lane_rows[] = {
    {SseOp::pslldq, "pslldq", pslldq},
    {SseOp::psrldq, "psrldq", psrldq},
    {SseOp::palignr, "palignr", palignr<Vec128, Whole128>, palignr<Vec64, U64>},
    {SseOp::pshufb, "pshufb", pshufb<Vec128>, pshufb<Vec64>},
    {SseOp::pshufw, "pshufw", nullptr, shuffle_four<Vec64, U16, 0>},
    {SseOp::pshufd, "pshufd", shuffle_four<Vec128, U32, 0>},
    {SseOp::pshuflw, "pshuflw", shuffle_four<Vec128, U16, 0>},
    {SseOp::pshufhw, "pshufhw", shuffle_four<Vec128, U16, 4>},
    {SseOp::shufps, "shufps", shufps},
    {SseOp::shufpd, "shufpd", shufpd},

    pack_row<I16, I8>(SseOp::packsswb, "packsswb"),
    pack_row<I32, I16>(SseOp::packssdw, "packssdw"),
    pack_row<I16, U8>(SseOp::packuswb, "packuswb"),
    {SseOp::packusdw, "packusdw", packed<Vec128, I32, U16>},

    interleave_row<U8, false>(SseOp::punpcklbw, "punpcklbw"),
    interleave_row<U16, false>(SseOp::punpcklwd, "punpcklwd"),
    interleave_row<U32, false>(SseOp::punpckldq, "punpckldq"),
    {SseOp::punpcklqdq, "punpcklqdq", interleaved<Vec128, U64, false>},
    interleave_row<U8, true>(SseOp::punpckhbw, "punpckhbw"),
    interleave_row<U16, true>(SseOp::punpckhwd, "punpckhwd"),
    interleave_row<U32, true>(SseOp::punpckhdq, "punpckhdq"),
    {SseOp::punpckhqdq, "punpckhqdq", interleaved<Vec128, U64, true>},
    {SseOp::unpcklps, "unpcklps", interleaved<Vec128, U32, false>},
    {SseOp::unpckhps, "unpckhps", interleaved<Vec128, U32, true>},
    {SseOp::unpcklpd, "unpcklpd", interleaved<Vec128, U64, false>},
    {SseOp::unpckhpd, "unpckhpd", interleaved<Vec128, U64, true>},

    {SseOp::pblendw, "pblendw", blended<U16>},
    {SseOp::pblendvb, "pblendvb", blended_by_xmm0<U8>},
    {SseOp::blendps, "blendps", blended<U32>},
    {SseOp::blendpd, "blendpd", blended<U64>},
    {SseOp::blendvps, "blendvps", blended_by_xmm0<U32>},
    {SseOp::blendvpd, "blendvpd", blended_by_xmm0<U64>},

    {SseOp::pmovsxbw, "pmovsxbw", extended<I8, I16>},
    {SseOp::pmovsxbd, "pmovsxbd", extended<I8, I32>},
    {SseOp::pmovsxbq, "pmovsxbq", extended<I8, I64>},
    {SseOp::pmovsxwd, "pmovsxwd", extended<I16, I32>},
    {SseOp::pmovsxwq, "pmovsxwq", extended<I16, I64>},
    {SseOp::pmovsxdq, "pmovsxdq", extended<I32, I64>},
    {SseOp::pmovzxbw, "pmovzxbw", extended<U8, U16>},
    {SseOp::pmovzxbd, "pmovzxbd", extended<U8, U32>},
    {SseOp::pmovzxbq, "pmovzxbq", extended<U8, U64>},
    {SseOp::pmovzxwd, "pmovzxwd", extended<U16, U32>},
    {SseOp::pmovzxwq, "pmovzxwq", extended<U16, U64>},
    {SseOp::pmovzxdq, "pmovzxdq", extended<U32, U64>},

    {SseOp::pinsrb, "pinsrb", inserted<Vec128, U8>},
    {SseOp::pinsrw, "pinsrw", inserted<Vec128, U16>, inserted<Vec64, U16>},
    {SseOp::pinsrd, "pinsrd", inserted<Vec128, U32>},
    {SseOp::pinsrq, "pinsrq", inserted<Vec128, U64>},
    extract_row<U8>(SseOp::pextrb, "pextrb"),
    {SseOp::pextrw, "pextrw", extracted<Vec128, U16>, extracted<Vec64, U16>, SseResult::general},
    extract_row<U32>(SseOp::pextrd, "pextrd"),
    extract_row<U64>(SseOp::pextrq, "pextrq"),
    {SseOp::insertps, "insertps", insertps},
    extract_row<U32>(SseOp::extractps, "extractps"),

    {SseOp::pmovmskb, "pmovmskb", byte_sign_mask<Vec128>, byte_sign_mask<Vec64>, SseResult::general},
    {SseOp::movmskps, "movmskps", sign_mask<Vec128, U32>, nullptr, SseResult::general},
    {SseOp::movmskpd, "movmskpd", sign_mask<Vec128, U64>, nullptr, SseResult::general},

    {SseOp::movss, "movss", low_lane_replaced<U32>},
    {SseOp::movsd, "movsd", low_lane_replaced<U64>},
    {SseOp::movq, "movq", movq},
    {SseOp::movlps, "movlps", low_lane_replaced<U64>},
    {SseOp::movhps, "movhps", movhps},
    {SseOp::movlhps, "movlhps", movhps},
    {SseOp::movhlps, "movhlps", movhlps},
    {SseOp::movddup, "movddup", movddup},
    {SseOp::movsldup, "movsldup", movsdup<0>},
    {SseOp::movshdup, "movshdup", movsdup<1>},
};

}  // namespace

std::span<const SseRow> sse_lane_rows() { return lane_rows; }

}  // namespace cbit::cpu::fp
