// Which transitions of a queue pair there are, and which attributes each needs and takes:
// drivers/infiniband/core/verbs.c qp_state_table.
#pragma once

#include "cbit/verbs_types.hpp"

namespace cbit::dev::rdma {

[[nodiscard]] bool modify_qp_is_ok(ibv_qp_state from, ibv_qp_state to, ibv_qp_type type, unsigned mask);

}  // namespace cbit::dev::rdma
