#include "lab/tables/tables.hpp"

#include <vector>

namespace cbit {

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{
      {"rdma", "Does RDMA work on memory that is encrypted, by which method, at what cost?",
       lab::make_rdma_table},
      {"attacks", "What can a host do to a guest's memory?", lab::make_attacks_table},
  };
  return all;
}

}  // namespace cbit
