#include "lab/tables/tables.hpp"

#include <vector>

namespace cbit {

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{
      {"rdma", "Does RDMA work on memory that is encrypted, by which method, at what cost?",
       lab::make_rdma_table},
      {"virtio", "virtio in mixed fleets: which guest works with which device and IOMMU, and what it costs",
       lab::make_virtio_table},
  };
  return all;
}

}  // namespace cbit
