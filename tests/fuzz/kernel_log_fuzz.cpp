// Kernel logs from anywhere: whatever the bytes, they are taken apart in bounded memory, what is shown of
// them is printable, and the lines that matter are no more than there were.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "facts/kernel_log.hpp"
#include "facts/log_causes.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const cbit::facts::KernelLog log = cbit::facts::parse_kernel_log(text);
  require(log.lines <= size);
  for (const cbit::facts::PoolFull& full : log.pool_full)
    require(is_printable(full.device) && is_printable(full.driver) && is_printable(full.line.text));
  for (const cbit::facts::IommuFault& fault : log.iommu_faults) require(is_printable(fault.device));
  std::uint64_t counted = 0;
  for (const cbit::facts::LogCause& cause : cbit::facts::causes_of_full_pool(log, true, false))
    counted += cause.count;
  require(counted == log.pool_full.size());
  (void)cbit::facts::causes_of_overflows(
      log, {.platform = "sme", .layout = cbit::mem::KeyLayout::amd(47), .is_sme = true});
  const std::string kept = cbit::facts::lines_that_matter(text);
  require(static_cast<std::size_t>(std::ranges::count(kept, '\n')) <= log.lines);
  (void)cbit::facts::parse_kernel_log(kept);
  return 0;
}
