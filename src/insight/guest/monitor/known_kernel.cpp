#include "guest/monitor/known_kernel.hpp"

#include <fmt/format.h>

namespace cbit::guest {

std::string modules_text(const linux::ModuleMap& modules, std::size_t lines_max) {
  std::string text;
  std::size_t lines = 0;
  modules.for_each([&](const linux::Module& module) {
    if (lines++ >= lines_max) return;
    text += fmt::format("{:016x}-{:016x} {}", module.core.first.value(),
                        (module.core.first + module.core.bytes).value(), module.name);
    if (module.init.bytes != 0)
      text += fmt::format(" init {:016x}-{:016x}", module.init.first.value(),
                          (module.init.first + module.init.bytes).value());
    text += '\n';
  });
  if (lines > lines_max) text += fmt::format("... and {} more: ask for more lines\n", lines - lines_max);
  return text;
}

std::optional<linux::RunningKernel> KnownKernel::find() const {
  const auto slide = linux::find_slide(*kernel_, memory_);
  if (!slide) return std::nullopt;
  linux::RunningKernel running{*kernel_, *slide};
  if (const auto head = running.address_of("modules")) running.modules().read_list(*kernel_, memory_, *head);
  return running;
}

std::string KnownKernel::name_of(VirtAddr at) const {
  const auto running = find();
  return running && running->locate(at) ? running->describe(at) : std::string{};
}

std::string KnownKernel::modules_text(std::size_t lines_max) const {
  const auto running = find();
  return running ? guest::modules_text(running->modules(), lines_max) : std::string{};
}

std::optional<KernelForDump> KnownKernel::for_dump() const {
  const auto running = find();
  return running ? kernel_for_dump(*running, memory_) : std::nullopt;
}

}  // namespace cbit::guest
