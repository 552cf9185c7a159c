// Files of /proc and /sys with any contents: every parser takes them, and what is shown is printable.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "doctor/pool_watch.hpp"
#include "facts/command_line.hpp"
#include "facts/cpu.hpp"
#include "facts/iommu.hpp"
#include "facts/kernel.hpp"
#include "facts/limits.hpp"
#include "facts/memory.hpp"
#include "facts/misc_cgroup.hpp"
#include "facts/text.hpp"
#include "facts/virtio.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

void check_command_line(std::string_view text) {
  const cbit::KernelCommandLine line{text};
  for (const cbit::KernelParameter& parameter : line.parameters()) {
    require(line.has(parameter.name));
    require(is_printable(line.shown(parameter.name)));
    if (parameter.value) (void)line.has_word(parameter.name, parameter.value->substr(0, 3));
  }
}

void check_memory(std::string_view text) {
  cbit::MemoryFacts memory{.total = cbit::parse_meminfo(text), .ranges = cbit::parse_iomem(text)};
  for (const cbit::MemoryRange& range : *memory.ranges)
    require(range.first < range.last && is_printable(range.kind));
  (void)memory.ram();
  (void)memory.above_4g();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  require(is_printable(cbit::printable(text)));
  const cbit::CpuInfo cpu = cbit::parse_cpuinfo(text);
  require(is_printable(cpu.model) && is_printable(cpu.vendor));
  require(cbit::count_cpus(text) <= 8192);
  (void)cbit::nearest_version(cbit::parse_release(text));
  (void)cbit::parse_kernel_config(text);
  (void)cbit::parse_switch(text);
  (void)cbit::parse_limits(text);
  (void)cbit::parse_effective_capabilities(text);
  (void)cbit::parse_domain_type(text);
  (void)cbit::parse_features(text);
  for (const auto& [name, count] : cbit::parse_misc(text)) require(is_printable(name));
  for (const auto& [name, bounces] : cbit::parse_bounce_trace(text))
    require(is_printable(name) && bounces.count != 0);
  check_command_line(text);
  check_memory(text);
  return 0;
}
