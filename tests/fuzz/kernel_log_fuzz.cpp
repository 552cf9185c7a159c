// Kernel logs from anywhere: whatever the bytes, they are taken apart in bounded memory, what is shown of
// them is printable, and the lines that matter are no more than there were.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/safe_text.hpp"
#include "watch/import/kernel_log.hpp"
#include "watch/import/log_causes.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_printable(std::string_view text) { return cbit::safe_line(text) == text; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const cbit::watch::KernelLog log = cbit::watch::parse_kernel_log(text);
  require(log.lines <= size);
  for (const cbit::watch::PoolFull& full : log.pool_full)
    require(is_printable(full.device) && is_printable(full.driver) && is_printable(full.line.text));
  for (const cbit::watch::IommuFault& fault : log.iommu_faults) require(is_printable(fault.device));
  std::uint64_t counted = 0;
  for (const cbit::watch::LogCause& cause : cbit::watch::causes_of_full_pool(log, {.can_grow = true}))
    counted += cause.count;
  require(counted == log.pool_full.size());
  for (const cbit::watch::LogCause& cause : cbit::watch::causes_of_log(
           log, {.platform = "sme", .layout = cbit::mem::KeyLayout::amd(47), .is_sme = true}, {}))
    require(is_printable(cause.device) && is_printable(cause.driver) && is_printable(cause.first.text));
  const cbit::watch::CausesOfWords found = cbit::watch::causes_of_words(text);
  require(found.decided <= found.causes.size());
  const std::string kept = cbit::watch::lines_that_matter(text);
  require(static_cast<std::size_t>(std::ranges::count(kept, '\n')) <= log.lines);
  (void)cbit::watch::parse_kernel_log(kept);
  return 0;
}
