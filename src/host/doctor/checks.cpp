#include <algorithm>

#include "base/assert.hpp"
#include "doctor/check.hpp"

namespace cbit::doctor {
namespace {

bool always(const CheckSubject&) { return true; }
bool bare_amd(const CheckSubject& s) { return s.host.cpu.amd() && !s.system.virtual_machine; }
bool bare_amd_sme(const CheckSubject& s) { return bare_amd(s) && s.host.cpu.sev && s.host.cpu.sev->sme; }
bool bare_intel(const CheckSubject& s) { return s.host.cpu.intel() && !s.system.virtual_machine; }
bool virtual_machine(const CheckSubject& s) { return s.system.virtual_machine; }
bool sev_guest(const CheckSubject& s) {
  const machine::PlatformTraits& traits = machine::traits_of(s.system.platform);
  return is_guest(traits.platform) && traits.key_selection == machine::KeySelection::c_bit;
}
// An encrypted guest has no guests of that kind.
bool may_host(const CheckSubject& s) { return !is_guest(s.system.platform) && s.system.unjudged.empty(); }
bool tells_of_tsme(const CheckSubject& s) { return s.host.tsme || s.host.kernel_log().tsme; }
bool x86(const CheckSubject& s) { return s.host.cpu.info && s.host.cpu.info->x86; }
bool has_sme_or_asks(const CheckSubject& s) {
  return bare_amd(s) || (x86(s) && !s.system.virtual_machine && checks::asks_sme(s));
}
bool may_host_sev(const CheckSubject& s) {
  return may_host(s) && (s.host.cpu.amd() || (s.host.cpu.sev && s.host.cpu.sev->sev) || checks::asks_sev(s) ||
                         checks::asks_sev_es(s) || checks::asks_snp(s));
}
bool may_host_tdx(const CheckSubject& s) {
  return may_host(s) && (s.host.cpu.intel() || checks::asks_tdx(s));
}
bool may_have_firmware(const CheckSubject& s) {
  return s.host.only_log || may_host_sev(s) || may_host_tdx(s);
}
// On POWER the groups are VFIO's; how the kernel maps does not depend on them.
bool has_iommu_or_should(const CheckSubject& s) {
  const bool groups_tell = machine::traits_of(s.system.platform).iommu != machine::IommuKind::spapr;
  return groups_tell && s.system.unjudged.empty() && (s.host.iommu.present() || !s.system.virtual_machine);
}
bool encrypted_x86_guest(const CheckSubject& s) { return x86(s) && checks::encrypted_guest(s); }
bool has_rdma_hardware(const CheckSubject& s) {
  return std::ranges::any_of(s.host.rdma,
                             [](const facts::RdmaDeviceFacts& device) { return !device.pci.empty(); });
}

// In the order in which they are printed; a parent comes before its children.
constexpr CheckSpec table[] = {
    {"processor", "", "Processor and kernel", always, checks::processor},
    {"sme", "", "Secure Memory Encryption (SME)", has_sme_or_asks, checks::sme, checks::asks_sme},
    {"sme-firmware", "sme", "switched on by the firmware", bare_amd_sme, checks::sme_firmware,
     checks::asks_sme},
    {"sme-active", "sme", "used by this kernel", bare_amd_sme, checks::sme_active, checks::asks_sme},
    {"tsme", "", "Transparent SME (TSME)", tells_of_tsme, checks::tsme},
    {"tme", "", "Total Memory Encryption (TME)", bare_intel, checks::tme},
    {"guest", "", "This guest's memory is encrypted", virtual_machine, checks::guest, checks::asks_sme, true},
    {"guest-registers", "guest", "so are its registers (SEV-ES)", sev_guest, checks::guest_registers},
    {"guest-integrity", "guest", "the host cannot replace its memory (SEV-SNP)", sev_guest,
     checks::guest_integrity},
    {"guest-rdrand", "guest", "RDRAND, without which it would not boot", sev_guest, checks::guest_rdrand},
    {"guest-iommu", "guest", "no virtual IOMMU takes devices past the bounce pool", encrypted_x86_guest,
     checks::guest_iommu},
    {"guest-nvdimm", "guest", "no NVDIMM, whose memory would be the host's", checks::encrypted_guest,
     checks::guest_nvdimm},
    {"iommu", "", "IOMMU", has_iommu_or_should, checks::iommu, checks::asks_iommu},
    {"kvm", "", "Guests (KVM)", may_host, checks::kvm},
    {"sev-guests", "kvm", "SEV guests", may_host_sev, checks::sev_guests, checks::asks_sev},
    {"sev-es-guests", "sev-guests", "SEV-ES guests", may_host_sev, checks::sev_es_guests,
     checks::asks_sev_es},
    {"sev-snp-guests", "sev-es-guests", "SEV-SNP guests", may_host_sev, checks::snp_guests, checks::asks_snp},
    {"asids", "sev-guests", "ASIDs for more guests", may_host_sev, checks::asids},
    {"guest-memlock", "sev-guests", "room to pin a guest's memory", may_host_sev, checks::guest_memlock},
    {"tdx-guests", "kvm", "TDX guests", may_host_tdx, checks::tdx_guests, checks::asks_tdx},
    {"pool", "", "Bounce pool (SWIOTLB)", always, checks::pool, checks::asks_pool, true},
    {"pool-size", "pool", "of the size that the kernel wanted", x86, checks::pool_size,
     checks::asks_pool_size},
    {"pool-usage", "pool", "has free slots", always, checks::pool_usage},
    {"rdma-memlock", "", "RDMA applications may pin memory", has_rdma_hardware, checks::rdma_memlock},
    {"log", "", "Kernel log", always, checks::log, nullptr, true},
    {"log-pool-full", "log", "no mapping failed for want of slots", always, checks::log_pool_full, nullptr,
     true},
    {"log-overflows", "log", "no DMA address was beyond a mask", always, checks::log_overflows, nullptr,
     true},
    {"log-iommu-faults", "log", "no IOMMU fault", always, checks::log_iommu_faults, nullptr, true},
    {"log-virtio", "log", "no virtio device was refused", always, checks::log_virtio, nullptr, true},
    {"log-firmware", "log", "no trouble with the firmware or the secure processor", may_have_firmware,
     checks::log_firmware, nullptr, true},
    {"log-other", "log", "no other complaint that the catalogue knows", always, checks::log_other, nullptr,
     true},
};

const CheckResult* result_of(const std::vector<CheckResult>& results, std::string_view id) {
  const auto found = std::ranges::find_if(results, [&](const CheckResult& r) { return r.spec->id == id; });
  return found == results.end() ? nullptr : &*found;
}

// What was asked for and is not so is a failure.
void insist(Outcome& outcome, const HostEvidence& asked) {
  if (outcome.state == CheckState::pass || outcome.denied || outcome.says.empty()) return;
  outcome.state = CheckState::fail;
  if (std::ranges::find(outcome.evidence, asked) == outcome.evidence.end()) outcome.evidence.push_back(asked);
}

}  // namespace

std::span<const CheckSpec> check_table() { return table; }

std::vector<CheckResult> run_checks(const CheckSubject& subject) {
  std::vector<CheckResult> results;
  for (const CheckSpec& spec : table) {
    if (!spec.applies(subject) || (subject.host.only_log && !spec.log_tells)) continue;
    const CheckResult* const parent = result_of(results, spec.parent);
    if (!spec.parent.empty() && parent == nullptr) continue;  // the parent does not apply
    CheckResult result{.spec = &spec, .depth = parent == nullptr ? 0 : parent->depth + 1};
    const bool needs_missing = parent != nullptr && parent->outcome.state != CheckState::pass;
    const auto asked = spec.asked != nullptr ? spec.asked(subject) : std::nullopt;
    if (!needs_missing || (asked && !parent->outcome.denied)) result.outcome = spec.judge(subject);
    if (asked) insist(result.outcome, *asked);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace cbit::doctor
