// What the kernel said. That nothing was found means something only where the log begins with the boot.
#include <fmt/format.h>

#include <set>

#include "doctor/check.hpp"
#include "watch/cause_table.hpp"

namespace cbit::doctor::checks {
namespace {

Outcome nothing_found(const CheckSubject& s) {
  if (s.host.kernel_log().complete) return {.state = CheckState::pass, .says = "since the boot"};
  return {.state = CheckState::pass, .says = "in what is left of the log"};
}

// "3 messages of 2 devices".
std::string counted(const std::vector<watch::LogCause>& found) {
  std::uint64_t count = 0;
  std::set<std::string_view> devices;
  for (const watch::LogCause& one : found) {
    count += one.count;
    if (!one.device.empty()) devices.insert(one.device);
  }
  std::string text = fmt::format("{} message{}", count, count == 1 ? "" : "s");
  if (!devices.empty())
    text += fmt::format(" of {} device{}", devices.size(), devices.size() == 1 ? "" : "s");
  return text;
}

Outcome outcome_of(const CheckSubject& s, CheckState if_found, std::vector<watch::LogCause> found) {
  if (found.empty()) return nothing_found(s);
  std::string says = counted(found);
  return {.state = if_found, .says = std::move(says), .logged = std::move(found)};
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
  return outcome_of(s, CheckState::fail, watch::causes_of_full_pool(s.host.kernel_log(), pool_state(s)));
}

Outcome log_overflows(const CheckSubject& s) {
  const Platform platform = s.system.platform;
  const unsigned c_bit = s.system.c_bit;
  const machine::PlatformTraits& traits = machine::traits_of(platform);
  const bool has_c_bit = traits.key_selection == machine::KeySelection::c_bit && c_bit != 0;
  return outcome_of(
      s, CheckState::fail,
      watch::causes_of_overflows(s.host.kernel_log(),
                                 {.layout = has_c_bit ? mem::KeyLayout::amd(c_bit) : mem::KeyLayout::none(),
                                  .is_guest = is_guest(platform),
                                  .is_sme = traits.cc.has(spec::CcAttr::host_mem_encrypt)}));
}

Outcome log_iommu_faults(const CheckSubject& s) {
  return outcome_of(s, CheckState::warn, watch::causes_of_iommu_faults(s.host.kernel_log()));
}

Outcome log_virtio(const CheckSubject& s) {
  return outcome_of(s, CheckState::fail, watch::causes_of_virtio_refusals(s.host.kernel_log()));
}

Outcome log_firmware(const CheckSubject& s) {
  auto found = watch::causes_of_firmware_troubles(s.host.kernel_log());
  // Of more than a log, the check of SNP guests tells it.
  const watch::CauseInfo* const passthrough = &watch::cause("iommu-passthrough-forbids-snp");
  if (!s.host.only_log)
    std::erase_if(found, [&](const watch::LogCause& one) { return one.causes.front() == passthrough; });
  return outcome_of(s, CheckState::warn, std::move(found));
}

Outcome log_other(const CheckSubject& s) {
  return outcome_of(s, CheckState::fail, watch::causes_of_other_words(s.host.kernel_log()));
}

}  // namespace cbit::doctor::checks
