// Whether this host can have encrypted guests: what guest_support() found, as checks.
#include <fmt/format.h>

#include "base/text.hpp"
#include "doctor/check.hpp"
#include "watch/cause_table.hpp"

namespace cbit::doctor::checks {
namespace {

HostEvidence parameter(std::string_view name, const facts::Read<std::string>& value) {
  return {std::string{facts::kvm_amd_parameters} + std::string{name},
          value ? *value : std::string{to_string(value.error())}};
}

// What the processor does not have, or nobody switched on, is no failure.
Outcome outcome_of(const facts::Support& support, CheckState if_not, std::vector<HostEvidence> evidence) {
  if (support.usable) return {.state = CheckState::pass, .says = "yes", .evidence = std::move(evidence)};
  return {.state = if_not,
          .says = support.why_not,
          .evidence = std::move(evidence),
          .remedy = support.remedy,
          .denied = support.denied};
}

CheckState if_denied(facts::DeviceState state) {
  return state == facts::DeviceState::denied ? CheckState::warn : CheckState::skip;
}

std::string mib(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

// A guest of 1 GiB is a small one.
constexpr std::uint64_t guest_bytes = 1ull << 30;

std::optional<HostEvidence> small_memlock(const facts::HostFacts& host) {
  if (!host.memlock || host.memlock->cap_ipc_lock || !host.memlock->soft) return std::nullopt;
  if (*host.memlock->soft >= guest_bytes) return std::nullopt;
  return HostEvidence{"/proc/self/limits", fmt::format("Max locked memory {} (soft)", *host.memlock->soft)};
}

Outcome memlock(const CheckSubject& s, std::string_view who) {
  if (!s.host.memlock)
    return {.says = fmt::format("/proc/self/limits: {}", to_string(s.host.memlock.error()))};
  const auto small = small_memlock(s.host);
  if (!small)
    return {.state = CheckState::pass,
            .says = s.host.memlock->cap_ipc_lock ? "CAP_IPC_LOCK, no limit counts"
                    : s.host.memlock->soft       ? mib(*s.host.memlock->soft)
                                                 : "unlimited"};
  return {.state = CheckState::warn,
          .says = fmt::format("this shell's limit of {} is little for {}", mib(*s.host.memlock->soft), who),
          .evidence = {*small},
          .causes = {&watch::cause("memlock-exceeded")}};
}

}  // namespace

Outcome kvm(const CheckSubject& s) {
  return outcome_of(s.host.support.kvm, if_denied(s.host.kvm),
                    {{"/dev/kvm", std::string{word_of(facts::device_state_words, s.host.kvm)}}});
}

Outcome sev_guests(const CheckSubject& s) {
  const facts::HostFacts& host = s.host;
  const bool wanted =
      host.cpu.sev && host.cpu.sev->sev && host.cpu.sev->asids != 0 && host.kernel.kvm_amd_sev;
  std::vector<HostEvidence> evidence;
  if (wanted) {
    evidence.push_back(parameter("sev", host.kernel.kvm_amd_sev));
    evidence.push_back({"/dev/sev", std::string{word_of(facts::device_state_words, host.sev)}});
  }
  // sev=N is somebody's choice, or the firmware's; with sev=Y all the rest should be there.
  const bool on = wanted && facts::parse_switch(*host.kernel.kvm_amd_sev).value_or(false);
  const CheckState state = !wanted                                         ? CheckState::skip
                           : !on || host.sev == facts::DeviceState::denied ? CheckState::warn
                                                                           : CheckState::fail;
  return outcome_of(host.support.sev, state, std::move(evidence));
}

Outcome sev_es_guests(const CheckSubject& s) {
  // Firmware leaves no ASID to SEV-ES unless told otherwise.
  const bool ready = s.host.cpu.sev && s.host.cpu.sev->sev_es && s.host.cpu.sev->first_sev_asid > 1;
  return outcome_of(s.host.support.sev_es, ready ? CheckState::warn : CheckState::skip,
                    {parameter("sev_es", s.host.kernel.kvm_amd_sev_es)});
}

Outcome snp_guests(const CheckSubject& s) {
  const facts::HostFacts& host = s.host;
  if (!host.cpu.sev || !host.cpu.sev->sev_snp || !host.kernel.kvm_amd_sev_snp || !host.support.sev_es.usable)
    return outcome_of(host.support.sev_snp, CheckState::skip, {});
  Outcome outcome =
      outcome_of(host.support.sev_snp, CheckState::fail, {parameter("sev_snp", host.kernel.kvm_amd_sev_snp)});
  const bool passthrough = host.kernel.line().has_word("iommu", "pt") ||
                           host.support.sev_snp.why_not.find("forbids SNP") != std::string::npos;
  if (outcome.state == CheckState::fail && passthrough) {
    for (const std::string_view name : {"iommu", "iommu.passthrough", "amd_iommu"})
      if (host.kernel.line().has(name))
        outcome.evidence.push_back({"/proc/cmdline", host.kernel.line().shown(name)});
    outcome.causes.push_back(&watch::cause("iommu-passthrough-forbids-snp"));
  }
  if (const auto& said = host.kernel_log().iommu_forbids_snp; said && outcome.state == CheckState::fail)
    outcome.evidence.push_back({"kernel log", said->text});
  return outcome;
}

Outcome asids(const CheckSubject& s) {
  const facts::GuestSupport& support = s.host.support;
  const std::vector<HostEvidence> evidence{
      {"CPUID 8000001F ECX, EDX", fmt::format("{} ASIDs, SEV from {} on", support.asids.value_or(0),
                                              support.first_sev_asid.value_or(0))}};
  if (!support.sev_asids_free)
    return {.state = CheckState::pass,
            .says = fmt::format("{} in all; how many are free, misc.current of cgroup v2 would tell",
                                support.asids.value_or(0)),
            .evidence = evidence};
  const unsigned sev = *support.sev_asids_free, es = support.sev_es_asids_free.value_or(0);
  if (sev != 0)
    return {.state = CheckState::pass,
            .says = fmt::format("{} free for SEV, {} for SEV-ES and SNP", sev, es),
            .evidence = evidence};
  return {.state = CheckState::warn,
          .says = "none is free for SEV",
          .evidence = {{"/sys/fs/cgroup/misc.current", "sev has reached its capacity"}},
          .causes = {&watch::cause("asid-exhausted")}};
}

Outcome guest_memlock(const CheckSubject& s) { return memlock(s, "a guest, whose memory is pinned"); }
Outcome rdma_memlock(const CheckSubject& s) { return memlock(s, "memory regions, which are pinned"); }

Outcome tdx_guests(const CheckSubject& s) {
  const facts::Read<std::string>& value = s.host.kernel.kvm_intel_tdx;
  std::vector<HostEvidence> evidence{{std::string{facts::kvm_intel_parameters} + "tdx",
                                      value ? *value : std::string{to_string(value.error())}}};
  const watch::KernelLog& log = s.host.kernel_log();
  if (log.tdx_key_ids) evidence.push_back({"kernel log", log.tdx_key_ids->line.text});
  if (log.tdx_module) evidence.push_back({"kernel log", log.tdx_module->text});
  // tdx=N on a host whose firmware has set KeyIDs aside for it: somebody wanted it.
  const bool prepared = log.tdx_key_ids && value;
  return outcome_of(s.host.support.tdx, prepared ? CheckState::warn : CheckState::skip, std::move(evidence));
}

}  // namespace cbit::doctor::checks
