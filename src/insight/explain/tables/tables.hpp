// The makers of the tables, one per file of this folder.
#pragma once

#include "explain/table.hpp"

namespace cbit::explain {

[[nodiscard]] OrError<Table> rdma_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> ttm_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> mktme_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> virtio_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> attacks_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> linux_versions_table(std::uint64_t seed);

}  // namespace cbit::explain
