// How much memory a process may lock: what VFIO, KVM's SEV and RDMA pin counts against it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::facts {

struct MemlockLimit {
  std::optional<std::uint64_t> soft;  // nullopt: unlimited
  std::optional<std::uint64_t> hard;
  bool cap_ipc_lock = false;  // the limit does not count
};

// "Max locked memory" of /proc/PID/limits; nullopt: no such line.
[[nodiscard]] std::optional<MemlockLimit> parse_limits(std::string_view text);
// CapEff of /proc/PID/status; nullopt: no such line.
[[nodiscard]] std::optional<std::uint64_t> parse_effective_capabilities(std::string_view text);

// Of this process.
[[nodiscard]] Read<MemlockLimit> read_memlock(const HostTree& tree);

}  // namespace cbit::facts
