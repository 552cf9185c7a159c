// The makers of the tables, one per file of this folder.
#pragma once

#include "lab/table.hpp"

namespace cbit::lab {

[[nodiscard]] OrError<Table> make_rdma_table(std::uint64_t seed);
[[nodiscard]] OrError<Table> make_virtio_table(std::uint64_t seed);

}  // namespace cbit::lab
