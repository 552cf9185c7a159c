#include "lab/tables/tables.hpp"

#include <vector>

namespace cbit {

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{
      {"rdma", "Does RDMA work on memory that is encrypted, by which method, at what cost?",
       lab::make_rdma_table},
      {"ttm", "Graphics buffers: which mappings of a page agree, by driver and kernel", lab::ttm_table},
  };
  return all;
}

}  // namespace cbit
