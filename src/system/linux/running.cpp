#include "linux/running.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "linux/parts.hpp"

namespace cbit::linux {

std::optional<std::uint64_t> find_slide(const Kernel& kernel, const GuestMemory& memory) {
  const std::string_view banner = kernel.banner();
  if (banner.empty()) return std::nullopt;
  Bytes there(banner.size());
  for (std::uint64_t slide = 0; slide < kernel_map_bytes; slide += kernel.alignment()) {
    const VirtAddr at = kernel.banner_at() + slide;
    // The first word tells almost all other places away.
    const auto start = memory.load<std::uint64_t>(at);
    if (!start || as_text(bytes_of(*start)) != banner.substr(0, sizeof *start)) continue;
    if (memory.read(at, there) && as_text(there) == banner) return slide;
  }
  return std::nullopt;
}

std::optional<VirtAddr> RunningKernel::address_of(std::string_view symbol) const {
  const auto found = kernel_->symbols().find(symbol);
  if (!found) return std::nullopt;
  return found->is_absolute() ? found->at : found->at + slide_;
}

std::optional<Location> RunningKernel::locate(VirtAddr ip) const {
  if (kernel_->is_text(in_file(ip))) {
    const auto symbol = kernel_->symbols().nearest(in_file(ip));
    if (symbol) return Location{symbol->name, in_file(ip) - symbol->at, {}};
  }
  if (const Module* const module = modules_.find(ip))
    if (const auto symbol = module->symbols.nearest(ip))
      return Location{symbol->name, ip - symbol->at, module->name};
  return std::nullopt;
}

std::string RunningKernel::describe(VirtAddr ip, bool called) const {
  const std::uint64_t back = called ? 1 : 0;
  if (const auto place = locate(ip - back)) {
    const std::string module = place->module.empty() ? std::string{} : fmt::format(" [{}]", place->module);
    return fmt::format("{}+{:#x}{}", place->function, place->offset + back, module);
  }
  const Module* const module = modules_.find(ip - back);
  return module != nullptr ? fmt::format("{:#x} [{}]", ip.value(), module->name)
                           : fmt::format("{:#x}", ip.value());
}

std::string RunningKernel::describe_with_line(VirtAddr ip, bool called) const {
  std::string text = describe(ip, called);
  const VirtAddr instruction = called ? ip - 1 : ip;
  const Module* const module = modules_.find(instruction);
  const std::string line = module != nullptr ? kernel_->lines().text_at(*module, instruction) : std::string{};
  return line.empty() ? text : fmt::format("{} at {}", text, line);
}

bool RunningKernel::is_text(VirtAddr at) const {
  return kernel_->is_text(in_file(at)) || modules_.find(at) != nullptr;
}

bool RunningKernel::is_function_start(VirtAddr at) const {
  const auto place = locate(at);
  return place && place->offset == 0;
}

std::optional<OrcRule> RunningKernel::rule_at(VirtAddr ip) const {
  if (kernel_->is_text(in_file(ip))) return kernel_->orc().find(in_file(ip));
  const Module* const module = modules_.find(ip);
  return module != nullptr ? module->orc.find(ip) : std::nullopt;
}

std::optional<std::uint64_t> RunningKernel::variable(const GuestMemory& memory,
                                                     std::string_view symbol) const {
  const auto at = address_of(symbol);
  return at ? memory.load<std::uint64_t>(*at) : std::nullopt;
}

}  // namespace cbit::linux
