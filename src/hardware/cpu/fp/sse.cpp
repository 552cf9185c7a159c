#include "cpu/fp/sse.hpp"

#include "base/assert.hpp"
#include "cpu/fp/sse_rows.hpp"

namespace cbit::cpu::fp {
namespace {

constexpr auto row_count = static_cast<std::size_t>(SseOp::count);
using Rows = std::array<SseRow, row_count>;

Rows all_rows() {
  Rows rows{};
  for (const auto part :
       {sse_integer_rows(), sse_lane_rows(), sse_float_rows(), sse_conversion_rows(), sse_string_rows()}) {
    for (const SseRow& row : part) rows[static_cast<std::size_t>(row.op)] = row;
  }
  return rows;
}

}  // namespace

const SseRow& sse_row(SseOp op) {
  static const Rows rows = all_rows();
  CBIT_ASSERT(op < SseOp::count);
  return rows[static_cast<std::size_t>(op)];
}

}  // namespace cbit::cpu::fp
