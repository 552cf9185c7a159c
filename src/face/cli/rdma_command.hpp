// `cbit rdma bw`, `cbit rdma pingpong`.
#pragma once

#include "cli/command.hpp"

namespace cbit::cli {

extern const CommandSpec rdma_bw_command;
extern const CommandSpec rdma_pingpong_command;

}  // namespace cbit::cli
