#include "facts/guest_support.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "facts/memory.hpp"

namespace cbit::facts {
namespace {

Support usable() { return {.usable = true}; }
Support refused(std::string why, std::string remedy) {
  return {.why_not = std::move(why), .remedy = std::move(remedy)};
}

Support denied(std::string why, std::string remedy) {
  return {.why_not = std::move(why), .remedy = std::move(remedy), .denied = true};
}

Support device_support(std::string_view path, DeviceState state, std::string_view absent_remedy,
                       std::string_view group) {
  switch (state) {
    case DeviceState::usable: return usable();
    case DeviceState::absent: return refused(fmt::format("there is no {}", path), std::string{absent_remedy});
    case DeviceState::denied:
      return denied(fmt::format("no right to open {}", path),
                    fmt::format("join the group that owns it ({}), or run as root", group));
    case DeviceState::busy: return refused(fmt::format("{} is in use", path), "find its user with fuser");
    case DeviceState::io_error:
      return refused(fmt::format("{} cannot be opened", path),
                     "see what its driver says in the kernel's log");
  }
  return {};
}

Support kvm_support(const GuestSupportFacts& facts) {
  if (facts.cpu.info && !facts.cpu.info->x86) return refused("this is no x86 processor", "");
  return device_support("/dev/kvm", facts.kvm,
                        "switch virtualization (SVM, VT-x) on in the firmware and load kvm_amd or kvm_intel; "
                        "in a virtual machine, let its host allow nested guests",
                        "kvm");
}

// The switch of one technology in kvm_amd, which is off where something below it failed.
Support kvm_amd_support(std::string_view name, const Read<std::string>& value, std::string_view off_remedy) {
  if (!value && value.error() != Unread::absent)
    return denied(fmt::format("{}{}: {}", kvm_amd_parameters, name, to_string(value.error())), "run as root");
  if (!value)
    return refused("kvm_amd is not loaded, or has no parameter " + std::string{name},
                   fmt::format("modprobe kvm_amd {}=1", name));
  if (!parse_switch(*value).value_or(false))
    return refused(fmt::format("kvm_amd {}={}", name, *value), std::string{off_remedy});
  return usable();
}

Support sev_support(const GuestSupportFacts& facts, const Support& kvm) {
  const CpuFacts& cpu = facts.cpu;
  if (cpu.info && !cpu.info->x86) return refused("this is no x86 processor", "");
  if (!cpu.sev || !cpu.sev->sev)
    return refused("the processor has no SEV (CPUID 8000001F EAX[1])",
                   cpu.amd() ? "switch SMEE and SEV on in the firmware" : "");
  if (cpu.sev->asids == 0)
    return refused("there are no ASIDs for encrypted guests (CPUID 8000001F ECX is 0)",
                   cpu.hypervisor.value_or(false)
                       ? "an encrypted guest cannot have encrypted guests: use its host"
                       : "switch SEV on in the firmware");
  Support kvm_amd =
      kvm_amd_support("sev", facts.kernel.kvm_amd_sev,
                      "switch SMEE and SEV on in the firmware, load ccp, and modprobe kvm_amd sev=1");
  if (!kvm_amd.usable) return kvm_amd;
  Support device = device_support("/dev/sev", facts.sev,
                                  "load ccp, and switch the secure processor on in the firmware", "kvm");
  return device.usable ? kvm : device;
}

Support sev_es_support(const GuestSupportFacts& facts, const Support& sev) {
  if (!sev.usable) return sev;
  if (!facts.cpu.sev->sev_es) return refused("the processor has no SEV-ES (CPUID 8000001F EAX[3])", "");
  if (facts.cpu.sev->first_sev_asid <= 1)
    return refused("the firmware leaves no ASID to SEV-ES and SNP guests (CPUID 8000001F EDX is 1)",
                   "raise \"SEV-ES ASID Space Limit\" in the firmware");
  return kvm_amd_support("sev_es", facts.kernel.kvm_amd_sev_es, "modprobe kvm_amd sev_es=1");
}

// What the kernel asks of the IOMMU before it enables SNP (drivers/iommu/amd/init.c: iommu_snp_enable).
Support iommu_translates(const GuestSupportFacts& facts) {
  const KernelCommandLine& line = facts.kernel.line();
  constexpr std::string_view remedy =
      "remove it from the kernel's command line: SNP needs an IOMMU that translates for all devices";
  if (line.has_word("iommu", "pt")) return refused("iommu=pt forbids SNP", std::string{remedy});
  if (line.last("iommu.passthrough") != nullptr && line.last("iommu.passthrough")->value.value_or("") != "0")
    return refused("iommu.passthrough=1 forbids SNP", std::string{remedy});
  for (const std::string_view name : {"iommu", "amd_iommu"})
    if (line.has_word(name, "off"))
      return refused(fmt::format("{}=off forbids SNP", name), std::string{remedy});
  if (!facts.iommu.present())
    return refused("there is no IOMMU, and SNP needs one", "switch it on in the firmware");
  return usable();
}

Support sev_snp_support(const GuestSupportFacts& facts, const Support& sev_es) {
  if (!sev_es.usable) return sev_es;
  if (!facts.cpu.sev->sev_snp) return refused("the processor has no SEV-SNP (CPUID 8000001F EAX[4])", "");
  const Read<std::string>& value = facts.kernel.kvm_amd_sev_snp;
  if (!value && value.error() == Unread::absent)
    return refused("this kernel's kvm_amd has no SNP", "use Linux 6.11 or later");
  if (value && parse_switch(*value).value_or(false)) return usable();
  Support iommu = iommu_translates(facts);
  if (!iommu.usable) return iommu;
  return kvm_amd_support("sev_snp", value,
                         "switch SNP and the RMP (\"SNP Memory Coverage\") on in the firmware, and "
                         "modprobe kvm_amd sev_snp=1");
}

Support tdx_support(const GuestSupportFacts& facts, const Support& kvm) {
  const CpuFacts& cpu = facts.cpu;
  if (cpu.info && !cpu.info->x86) return refused("this is no x86 processor", "");
  if (!cpu.intel()) return refused("the processor has no TDX", "");
  const Read<std::string>& value = facts.kernel.kvm_intel_tdx;
  if (!value && !cpu.has_flag("tdx_host_platform"))
    return refused("the firmware offers no TDX (no flag tdx_host_platform)",
                   "switch TME-MT and TDX on in the firmware, if the processor has them");
  if (!value)
    return refused("kvm_intel has no parameter tdx",
                   "use Linux 6.16 or later, and load kvm_intel with tdx=1");
  if (!parse_switch(*value).value_or(false))
    return refused(fmt::format("kvm_intel tdx={}", *value), "boot with kvm_intel.tdx=1");
  return kvm;
}

std::optional<unsigned> small(std::optional<std::uint64_t> value) {
  return value ? std::optional{static_cast<unsigned>(*value)} : std::nullopt;
}

}  // namespace

GuestSupport guest_support(const GuestSupportFacts& facts) {
  GuestSupport support;
  support.kvm = kvm_support(facts);
  support.sev = sev_support(facts, support.kvm);
  support.sev_es = sev_es_support(facts, support.sev);
  support.sev_snp = sev_snp_support(facts, support.sev_es);
  support.tdx = tdx_support(facts, support.kvm);
  if (const auto& sev = facts.cpu.sev; sev && sev->sev) {
    support.c_bit = sev->c_bit;
    support.reduced_phys_bits = sev->reduced_phys_bits;
    support.asids = sev->asids;
    support.first_sev_asid = sev->first_sev_asid;
  }
  support.sev_asids_free = small(facts.misc.free_of("sev"));
  support.sev_es_asids_free = small(facts.misc.free_of("sev_es"));
  support.kernel = facts.kernel.release;
  support.memory_bytes = facts.memory_bytes.value_or(0);
  if (facts.memlock && !facts.memlock->cap_ipc_lock) support.memlock_bytes = facts.memlock->soft;
  return support;
}

GuestSupport read_guest_support(const HostTree& tree) {
  const CpuFacts cpu = read_cpu(tree);
  const KernelFacts kernel = read_kernel(tree);
  const IommuFacts iommu = read_iommu(tree);
  const MiscCgroup misc = read_misc_cgroup(tree);
  const auto meminfo = tree.read("/proc/meminfo");
  return guest_support({.cpu = cpu,
                        .kernel = kernel,
                        .iommu = iommu,
                        .misc = misc,
                        .kvm = tree.device("/dev/kvm"),
                        .sev = tree.device("/dev/sev"),
                        .memory_bytes = meminfo ? parse_meminfo(*meminfo) : std::nullopt,
                        .memlock = read_memlock(tree)});
}

}  // namespace cbit::facts
