// All instructions, and which row is whose.
//
// Threading: immutable; any thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "isa/feature.hpp"
#include "isa/row.hpp"

namespace cbit::isa {

[[nodiscard]] std::span<const Row> table();

// nullptr: no row, so no processor of this project has the instruction (#UD).
[[nodiscard]] const Row* find_row(const Instruction& instruction);

// The table's parts, one file each.
[[nodiscard]] std::span<const Row> arithmetic_rows();
[[nodiscard]] std::span<const Row> shift_rows();
[[nodiscard]] std::span<const Row> move_rows();
[[nodiscard]] std::span<const Row> branch_rows();
[[nodiscard]] std::span<const Row> string_rows();
[[nodiscard]] std::span<const Row> system_rows();
[[nodiscard]] std::span<const Row> sse_rows();
[[nodiscard]] std::span<const Row> x87_rows();

// For `cbit cpu coverage`: what a processor with these features has, and what of it is missing here.
struct Coverage {
  std::vector<const Row*> there;
  std::vector<const Row*> missing;  // the feature is offered, and the row has no lowering
  std::vector<const Row*> absent;   // the feature is not offered
};
[[nodiscard]] Coverage coverage(const FeatureSet& features);

}  // namespace cbit::isa
