#include "linux/task.hpp"

#include "linux/peek.hpp"

namespace cbit::linux {
namespace {

constexpr std::size_t comm_bytes = 16;  // TASK_COMM_LEN

// Where `current` is, from the base of GS on: a per-CPU variable, or from 6.2 to 6.14 a member of one.
std::optional<VirtAddr> current_offset(const RunningKernel& running) {
  if (const auto variable = running.address_of("current_task")) return variable;
  const auto hot = running.address_of("pcpu_hot");
  const auto member = running.kernel().fields()[Field::hot_current_task];
  if (!hot || !member) return std::nullopt;
  return *hot + member->offset();
}

}  // namespace

std::optional<Task> current_task(const RunningKernel& running, const CpuView& cpu) {
  const auto offset = current_offset(running);
  if (!offset) return std::nullopt;
  const Peek peek{running.kernel().fields(), *cpu.memory};
  // On its first and last instructions the kernel still has the user's GS.
  for (const std::uint64_t base : {cpu.gs_base, cpu.kernel_gs_base}) {
    const auto task = cpu.memory->load<std::uint64_t>(*offset + base);
    if (!task || *task >> 63 == 0) continue;
    const auto comm_at = peek.place(VirtAddr{*task}, Field::task_comm);
    const auto comm = comm_at ? cpu.memory->text(*comm_at, comm_bytes) : std::nullopt;
    const auto pid = peek.value(VirtAddr{*task}, Field::task_pid);
    if (comm && pid) return Task{VirtAddr{*task}, *comm, static_cast<std::uint32_t>(*pid)};
  }
  return std::nullopt;
}

}  // namespace cbit::linux
