// What the kernel's command line asks for. Module parameters stand there as MODULE.NAME=VALUE.
#include "doctor/check.hpp"

namespace cbit::doctor::checks {
namespace {

// The last one counts, and a switch without a value is on.
std::optional<HostEvidence> switched_on(const CheckSubject& s, std::string_view name) {
  const facts::KernelParameter* const given = s.host.kernel.line().last(name);
  if (given == nullptr || !facts::parse_switch(given->value.value_or("1")).value_or(false))
    return std::nullopt;
  return HostEvidence{"/proc/cmdline", s.host.kernel.line().shown(name)};
}

}  // namespace

std::optional<HostEvidence> asks_sme(const CheckSubject& s) {
  const facts::KernelParameter* const given = s.host.kernel.line().last("mem_encrypt");
  if (given == nullptr || given->value != "on") return std::nullopt;
  return HostEvidence{"/proc/cmdline", s.host.kernel.line().shown("mem_encrypt")};
}

std::optional<HostEvidence> asks_sev(const CheckSubject& s) { return switched_on(s, "kvm_amd.sev"); }
std::optional<HostEvidence> asks_sev_es(const CheckSubject& s) { return switched_on(s, "kvm_amd.sev_es"); }
std::optional<HostEvidence> asks_snp(const CheckSubject& s) { return switched_on(s, "kvm_amd.sev_snp"); }
std::optional<HostEvidence> asks_tdx(const CheckSubject& s) { return switched_on(s, "kvm_intel.tdx"); }

std::optional<HostEvidence> asks_iommu(const CheckSubject& s) {
  constexpr std::pair<std::string_view, std::string_view> words[] = {
      {"intel_iommu", "on"}, {"amd_iommu", "force_enable"}, {"iommu", "force"}};
  for (const auto& [name, word] : words)
    if (s.host.kernel.line().has_word(name, word))
      return HostEvidence{"/proc/cmdline", s.host.kernel.line().shown(name)};
  return std::nullopt;
}

std::optional<HostEvidence> asks_pool(const CheckSubject& s) {
  const kernel::SwiotlbOptions options = swiotlb_options(s.host);
  if (options.no_force || (!options.force && options.slots.value_or(0) == 0)) return std::nullopt;
  return HostEvidence{"/proc/cmdline", s.host.kernel.line().shown("swiotlb")};
}

std::optional<HostEvidence> asks_pool_size(const CheckSubject& s) {
  return swiotlb_options(s.host).slots.value_or(0) == 0 ? std::nullopt : asks_pool(s);
}

}  // namespace cbit::doctor::checks
