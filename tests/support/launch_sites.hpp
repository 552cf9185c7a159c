// Hosts that plans are made for, and the judgement of a plan by the rules.
#pragma once

#include <string>
#include <vector>

#include "launch/plan.hpp"
#include "support/launch_cases.hpp"

namespace cbit::launch_sites {

// One image that can do everything, and one like Debian's.
inline const launch::Firmware ovmf{.path = "/ovmf/OVMF.amdsev.fd",
                                   .bytes = 4 << 20,
                                   .ovmf = true,
                                   .sev_es = true,
                                   .sev_snp = true,
                                   .tdx = true,
                                   .sev_hash_bytes = 1024};
inline const launch::Firmware ovmf_without_hashes{
    .path = "/ovmf/OVMF.fd", .bytes = 2 << 20, .ovmf = true, .sev_es = true, .sev_snp = true, .tdx = true};

// Everything works there.
inline launch::LaunchSite capable_site() {
  return {.support = launch_cases::capable_host(), .qemu = {10, 1}, .firmware = {ovmf}};
}

// The names of the rules that find more than a note.
inline std::vector<std::string> troubles(const launch::LaunchPlan& plan, const launch::LaunchSite& site) {
  std::vector<std::string> names;
  const launch::JudgeContext context{
      .host = &site.support, .qemu = plan.qemu, .encrypted = plan.protection != launch::Protection::none};
  for (const launch::Finding& finding : launch::judge({.command = launch::command_of(plan)}, context))
    if (finding.rule->severity != launch::Severity::note) names.emplace_back(finding.rule->name);
  return names;
}

}  // namespace cbit::launch_sites
