// Files of /proc and /sys with any contents: every parser takes them, and what is shown is printable.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "doctor/pool_watch.hpp"
#include "facts/command_line.hpp"
#include "facts/cpu.hpp"
#include "facts/iommu.hpp"
#include "facts/kernel.hpp"
#include "facts/limits.hpp"
#include "facts/memory.hpp"
#include "facts/misc_cgroup.hpp"
#include "facts/virtio.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_printable(std::string_view text) { return cbit::safe_line(text) == text; }

void check_command_line(std::string_view text) {
  const cbit::facts::KernelCommandLine line{text};
  for (const cbit::facts::KernelParameter& parameter : line.parameters()) {
    require(line.has(parameter.name));
    require(is_printable(line.shown(parameter.name)));
    if (parameter.value) (void)line.has_word(parameter.name, parameter.value->substr(0, 3));
  }
}

void check_memory(std::string_view text) {
  cbit::facts::MemoryFacts memory{.total = cbit::facts::parse_meminfo(text),
                                  .ranges = cbit::facts::parse_iomem(text)};
  for (const cbit::facts::MemoryRange& range : *memory.ranges)
    require(range.first < range.last && is_printable(range.kind));
  (void)memory.ram();
  (void)memory.above_4g();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  require(is_printable(cbit::printable(text)));
  const cbit::facts::CpuInfo cpu = cbit::facts::parse_cpuinfo(text);
  require(is_printable(cpu.model) && is_printable(cpu.vendor));
  require(cbit::facts::count_cpus(text) <= 8192);
  (void)cbit::spec::nearest_version(cbit::spec::parse_release(text));
  (void)cbit::facts::parse_kernel_config(text);
  (void)cbit::facts::parse_switch(text);
  (void)cbit::facts::parse_limits(text);
  (void)cbit::facts::parse_effective_capabilities(text);
  (void)cbit::facts::parse_domain_type(text);
  (void)cbit::facts::parse_features(text);
  for (const auto& [name, count] : cbit::facts::parse_misc(text)) require(is_printable(name));
  for (const auto& [name, bounces] : cbit::doctor::parse_bounce_trace(text))
    require(is_printable(name) && bounces.count != 0);
  check_command_line(text);
  check_memory(text);
  return 0;
}
