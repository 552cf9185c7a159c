// Who runs on a CPU.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "linux/running.hpp"

namespace cbit::linux {

struct Task {
  VirtAddr at;  // struct task_struct
  std::string comm;
  std::uint32_t pid = 0;
};

// nullopt: not in the kernel's own code, or this kernel keeps the task somewhere that is not known.
[[nodiscard]] std::optional<Task> current_task(const RunningKernel& running, const CpuView& cpu);

}  // namespace cbit::linux
