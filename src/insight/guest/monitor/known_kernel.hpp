// A kernel that nobody watches, but whose file is known: looked up in the guest's memory when asked for.
//
// Threading: that of the machine.
#pragma once

#include "guest/kernel_memory.hpp"
#include "guest/monitor/kernel_knowledge.hpp"
#include "linux/running.hpp"

namespace cbit::guest {

// Ranges of the modules' code, as gdb's add-symbol-file wants them; at most so many lines.
[[nodiscard]] std::string modules_text(const linux::ModuleMap& modules, std::size_t lines_max);

class KnownKernel final : public KernelKnowledge {
 public:
  // Both outlive it.
  KnownKernel(const Pc& pc, const linux::Kernel& kernel) : memory_{pc}, kernel_{&kernel} {}

  [[nodiscard]] std::string name_of(VirtAddr at) const override;
  [[nodiscard]] std::optional<std::string> dma_text(std::size_t) const override { return std::nullopt; }
  [[nodiscard]] std::string modules_text(std::size_t lines_max) const override;
  [[nodiscard]] std::optional<KernelForDump> for_dump() const override;

  // As it is now, with its modules; nullopt: it is not mapped on the processor.
  [[nodiscard]] std::optional<linux::RunningKernel> find() const;

 private:
  KernelMemory memory_;
  const linux::Kernel* kernel_;
};

}  // namespace cbit::guest
