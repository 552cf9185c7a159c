#include "lab/tables/tables.hpp"

#include <vector>

namespace cbit {

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{};
  return all;
}

}  // namespace cbit
