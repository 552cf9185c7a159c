// What rows of SSE operations are made of: shapes that turn a function of lanes into one of registers.
// Internal to this folder.
#pragma once

#include <span>

#include "cpu/fp/eflags.hpp"
#include "cpu/fp/sse.hpp"

namespace cbit::cpu::fp {

// The parts of the table, in no order.
[[nodiscard]] std::span<const SseRow> sse_integer_rows();
[[nodiscard]] std::span<const SseRow> sse_lane_rows();
[[nodiscard]] std::span<const SseRow> sse_float_rows();
[[nodiscard]] std::span<const SseRow> sse_conversion_rows();
[[nodiscard]] std::span<const SseRow> sse_string_rows();

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;
using I8 = std::int8_t;
using I16 = std::int16_t;
using I32 = std::int32_t;
using I64 = std::int64_t;

// Each lane of both operands.
template <class V, auto Function, class T>
V each_lane(const V& dst, const V& src, U8, SseContext&) {
  auto a = dst.template as<T>();
  const auto b = src.template as<T>();
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = Function(a[i], b[i]);
  return V::of(a);
}

// Each lane of the second operand.
template <class V, auto Function, class T>
V each_source_lane(const V&, const V& src, U8, SseContext&) {
  auto a = src.template as<T>();
  for (T& lane : a) lane = Function(lane);
  return V::of(a);
}

template <class T, auto Function>
constexpr SseRow both_sizes(SseOp op, std::string_view name) {
  return {op, name, each_lane<Vec128, Function, T>, each_lane<Vec64, Function, T>};
}
template <class T, auto Function>
constexpr SseRow xmm_only(SseOp op, std::string_view name) {
  return {op, name, each_lane<Vec128, Function, T>};
}

constexpr Vec128 general(U64 value) { return {{value, 0}}; }

}  // namespace cbit::cpu::fp
