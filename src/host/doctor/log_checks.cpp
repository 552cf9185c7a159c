// What the kernel said. That nothing was found means something only where the log begins with the boot.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/check.hpp"
#include "spec/swiotlb.hpp"
#include "watch/cause_table.hpp"
#include "watch/import/log_causes.hpp"

namespace cbit::doctor::checks {
namespace {

constexpr std::size_t quoted_max = 3;

Outcome nothing_found(const CheckSubject& s) {
  if (s.host.kernel_log().complete) return {.state = CheckState::pass, .says = "since the boot"};
  return {.state = CheckState::pass, .says = "in what is left of the log"};
}

void add_causes(Outcome& outcome, const std::vector<watch::LogCause>& found) {
  for (const watch::LogCause& one : found) {
    for (const watch::CauseInfo* const reason : one.causes)
      if (std::ranges::find(outcome.causes, reason) == outcome.causes.end()) outcome.causes.push_back(reason);
    if (outcome.evidence.size() < quoted_max) outcome.evidence.push_back({"kernel log", one.first.text});
    if (outcome.remedy.empty()) outcome.remedy = one.remedy;
  }
}

template <class Findings>
Outcome quoted(CheckState state, const Findings& findings, std::string says, std::string remedy) {
  Outcome outcome{.state = state, .says = std::move(says), .remedy = std::move(remedy)};
  for (const auto& one : findings)
    if (outcome.evidence.size() < quoted_max) outcome.evidence.push_back({"kernel log", one.line.text});
  return outcome;
}

}  // namespace

Outcome log(const CheckSubject& s) {
  if (s.host.log)
    return {
        .state = CheckState::pass,
        .says = s.host.log->complete ? "readable, from the boot on" : "readable, but its beginning is lost"};
  const bool denied = s.host.log.error() == facts::Unread::denied;
  return {.says = fmt::format("/dev/kmsg: {}", to_string(s.host.log.error())),
          .remedy = denied ? "run as root, or set kernel.dmesg_restrict=0" : ""};
}

Outcome log_pool_full(const CheckSubject& s) {
  const kernel::SwiotlbOptions options = swiotlb_options(s.host);
  const auto found = watch::causes_of_full_pool(
      s.host.kernel_log(), spec::has_dynamic_swiotlb(spec::nearest_version(s.host.kernel.release)),
      options.dynamic);
  if (found.empty()) return nothing_found(s);
  std::uint64_t count = 0;
  for (const watch::LogCause& one : found) count += one.count;
  Outcome outcome{.state = CheckState::fail,
                  .says = fmt::format("{} message{} of {} device{}", count, count == 1 ? "" : "s",
                                      found.size(), found.size() == 1 ? "" : "s")};
  add_causes(outcome, found);
  return outcome;
}

Outcome log_overflows(const CheckSubject& s) {
  const Platform platform = s.system.platform;
  const unsigned c_bit = s.system.c_bit;
  const machine::PlatformTraits& traits = machine::traits_of(platform);
  const bool has_c_bit = traits.key_selection == machine::KeySelection::c_bit && c_bit != 0;
  const auto found = watch::causes_of_overflows(
      s.host.kernel_log(), {.layout = has_c_bit ? mem::KeyLayout::amd(c_bit) : mem::KeyLayout::none(),
                            .is_guest = is_guest(platform),
                            .is_sme = traits.cc.has(spec::CcAttr::host_mem_encrypt)});
  if (found.empty()) return nothing_found(s);
  Outcome outcome{.state = CheckState::fail, .says = fmt::format("of {}", found.front().device)};
  add_causes(outcome, found);
  return outcome;
}

Outcome log_iommu_faults(const CheckSubject& s) {
  const auto& faults = s.host.kernel_log().iommu_faults;
  if (faults.empty()) return nothing_found(s);
  return quoted(
      CheckState::warn, faults, fmt::format("{} message{}", faults.size(), faults.size() == 1 ? "" : "s"),
      "a device used an address that was not mapped for it, or the RMP forbids: `cbit causes` has the "
      "reasons under IOMMU");
}

Outcome log_virtio(const CheckSubject& s) {
  const auto found = watch::causes_of_virtio_refusals(s.host.kernel_log());
  if (found.empty()) return nothing_found(s);
  const std::size_t count = s.host.kernel_log().virtio_refusals.size();
  Outcome outcome{.state = CheckState::fail,
                  .says = fmt::format("{} message{}", count, count == 1 ? "" : "s")};
  add_causes(outcome, found);
  return outcome;
}

Outcome log_firmware(const CheckSubject& s) {
  const auto& troubles = s.host.kernel_log().firmware_troubles;
  if (troubles.empty()) return nothing_found(s);
  Outcome outcome{.state = CheckState::warn,
                  .says = fmt::format("{} message{}", troubles.size(), troubles.size() == 1 ? "" : "s"),
                  .remedy = "update the firmware of board and secure processor, and see its options"};
  for (const watch::LogLine& line : troubles)
    if (outcome.evidence.size() < quoted_max) outcome.evidence.push_back({"kernel log", line.text});
  return outcome;
}

}  // namespace cbit::doctor::checks
