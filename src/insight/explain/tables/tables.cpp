#include "explain/tables/tables.hpp"

#include <vector>

namespace cbit::explain {

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{
      {"rdma", "Does RDMA work on memory that is encrypted, by which method, at what cost?", rdma_table},
      {"ttm", "Graphics buffers: which mappings of a page agree, by driver and kernel", ttm_table},
      {"mktme", "What each way to encrypted user memory can do", mktme_table},
      {"virtio", "virtio in mixed fleets: which guest works with which device and IOMMU, and what it costs",
       virtio_table},
      {"attacks", "What can a host do to a guest's memory?", attacks_table},
      {"linux-versions", "What changed for a driver under memory encryption, from Linux 6.1 to 7.3",
       linux_versions_table},
  };
  return all;
}

}  // namespace cbit::explain
