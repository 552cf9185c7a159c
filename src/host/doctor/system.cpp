#include "doctor/system.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::doctor {
namespace {

constexpr std::uint64_t sev_status_sev = 1, sev_status_es = 2, sev_status_snp = 4;
constexpr std::uint64_t syscfg_mem_encrypt = 1 << 23;

Platform sev_platform(bool es, bool snp) {
  if (snp) return Platform::sev_snp;
  return es ? Platform::sev_es : Platform::sev;
}

bool is_guest(const facts::HostFacts& host) { return host.cpu.hypervisor.value_or(false); }

// Each of these looks at one kind of evidence and says whether it settled the question.
bool from_cpuid_of_tdx(const facts::HostFacts& host, System& system) {
  if (!host.cpu.tdx_guest) return false;
  system.platform = Platform::tdx;
  system.evidence.push_back({"CPUID 21", "IntelTDX"});
  return true;
}

bool on_hyperv(const facts::HostFacts& host) {
  const auto& said = host.kernel_log().hypervisor;
  return host.cpu.signature == "Microsoft Hv" || (said && said->text.find("Hyper-V") != std::string::npos);
}

std::optional<facts::HypervIsolation> isolation_of(const facts::HostFacts& host, HostEvidence& evidence) {
  if (host.cpu.isolation) {
    evidence.source = "CPUID 4000000C EBX";
    return host.cpu.isolation;
  }
  const auto& said = host.kernel_log().hyperv_isolation;
  if (!said) return std::nullopt;
  evidence = {"kernel log", said->line.text};
  return facts::hyperv_isolation(said->group_a, said->group_b);
}

// Behind a paravisor neither CPUID 21 nor /dev/tdx_guest or /dev/sev-guest need exist.
bool from_hyperv(const facts::HostFacts& host, System& system) {
  constexpr unsigned vbs = 1, snp = 2, tdx = 3;
  HostEvidence evidence;
  const auto isolation = isolation_of(host, evidence);
  if (!isolation || isolation->type < vbs || isolation->type > tdx) return false;
  constexpr std::string_view names[] = {"", "VBS", "SNP", "TDX"};
  if (evidence.text.empty())
    evidence.text = fmt::format("isolation type {}{}", names[isolation->type],
                                isolation->paravisor ? ", with a paravisor" : "");
  system.evidence.push_back(std::move(evidence));
  system.paravisor = isolation->paravisor;
  if (isolation->type == vbs)
    system.unjudged = "Hyper-V VBS isolation (the hypervisor's, without encryption by the processor)";
  if (isolation->type == snp) {
    system.platform = Platform::sev_snp;
    system.vtom = isolation->shared_boundary.value_or(0);
  }
  if (isolation->type == tdx) system.platform = Platform::tdx;
  return true;
}

// Hyper-V has no guests with SEV alone: under vTOM Linux says "SEV" of what is SEV-SNP behind a paravisor
// (arch/x86/coco/core.c: amd_cc_platform_vtom).
void behind_paravisor(const facts::HostFacts& host, System& system) {
  if (!on_hyperv(host) || !cbit::is_guest(system.platform)) return;
  system.paravisor = true;
  if (system.platform == Platform::sev) system.platform = Platform::sev_snp;
  if (const auto& said = host.kernel_log().hypervisor) system.evidence.push_back({"kernel log", said->text});
}

bool from_log(const facts::HostFacts& host, System& system) {
  const watch::KernelLog& log = host.kernel_log();
  if (log.encryption) {
    const watch::EncryptionFeatures& features = *log.encryption;
    if (features.tdx)
      system.platform = Platform::tdx;
    else if (features.sev)
      system.platform = sev_platform(features.sev_es, features.sev_snp);
    else if (features.sme)
      system.platform = Platform::sme;
    else
      return false;
    system.evidence.push_back({"kernel log", features.line.text});
    behind_paravisor(host, system);
    return true;
  }
  if (!log.tdx_guest) return false;
  system.platform = Platform::tdx;
  system.evidence.push_back({"kernel log", log.tdx_guest->text});
  return true;
}

bool from_msr(const facts::HostFacts& host, System& system) {
  if (!host.cpu.sev_status || (*host.cpu.sev_status & sev_status_sev) == 0) return false;
  const std::uint64_t status = *host.cpu.sev_status;
  system.platform = sev_platform((status & sev_status_es) != 0, (status & sev_status_snp) != 0);
  system.evidence.push_back({"MSR C0010131 (SEV_STATUS)", fmt::format("{:#x}", status)});
  return true;
}

bool from_devices(const facts::HostFacts& host, System& system) {
  if (host.sev_guest != facts::DeviceState::absent) {
    system.platform = Platform::sev_snp;
    system.evidence.push_back({"/dev/sev-guest", "there is one"});
    return true;
  }
  if (host.tdx_guest != facts::DeviceState::absent) {
    system.platform = Platform::tdx;
    system.evidence.push_back({"/dev/tdx_guest", "there is one"});
    return true;
  }
  return false;
}

// A hypervisor shows the bit to an encrypted guest alone, and no ASIDs.
bool from_guests_cpuid(const facts::HostFacts& host, System& system) {
  if (!is_guest(host) || !host.cpu.sev || !host.cpu.sev->sev || host.cpu.sev->asids != 0) return false;
  system.platform = sev_platform(host.cpu.sev->sev_es, host.cpu.sev->sev_snp);
  system.evidence.push_back({"CPUID 8000001F EAX[1]", "SEV, in a virtual machine, and no ASIDs"});
  return true;
}

// mem_encrypt= decides, or CONFIG_AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT (arch/x86/mm/mem_encrypt_identity.c).
bool from_command_line(const facts::HostFacts& host, System& system) {
  if (is_guest(host) || !host.cpu.sev || !host.cpu.sev->sme) return false;
  if (host.cpu.syscfg ? (*host.cpu.syscfg & syscfg_mem_encrypt) == 0 : !host.cpu.has_flag("sme"))
    return false;
  const facts::KernelParameter* const given = host.kernel.line().last("mem_encrypt");
  const bool by_default =
      host.kernel.configured("AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT").value_or("n") == std::string_view{"y"};
  const bool on = given != nullptr ? given->value.value_or("") == "on" : by_default;
  if (!on) return false;
  system.platform = Platform::sme;
  system.evidence.push_back(
      given != nullptr ? HostEvidence{"/proc/cmdline", host.kernel.line().shown("mem_encrypt")}
                       : HostEvidence{"kernel configuration", "AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT=y"});
  return true;
}

bool from_ultravisor(const facts::HostFacts& host, System& system) {
  if (!host.ultravisor_guest) return false;
  system.platform = Platform::pef;
  system.evidence.push_back({"/sys/devices/system/cpu/svm", "1"});
  return true;
}

// Named, and no more: cbit has no model of them.
bool from_other_architectures(const facts::HostFacts& host, System& system) {
  const auto name = [&](std::string what, HostEvidence evidence, bool guest) {
    system.unjudged = std::move(what);
    system.evidence.push_back(std::move(evidence));
    system.virtual_machine = guest;
    return true;
  };
  if (host.secure_execution_guest)
    return name("IBM Secure Execution, of a guest", {"/sys/firmware/uv/prot_virt_guest", "1"}, true);
  if (host.secure_execution_host)
    return name("IBM Secure Execution, of this host's guests", {"/sys/firmware/uv/prot_virt_host", "1"},
                false);
  if (const auto& said = host.kernel_log().realm)
    return name("Arm CCA, of a realm", {"kernel log", said->text}, true);
  if (host.realm)
    return name("Arm CCA, of a realm", {"/sys/devices/platform/arm-cca-dev", "there is one"}, true);
  return false;
}

std::string hypervisor_name(const facts::CpuFacts& cpu, const watch::KernelLog& log) {
  if (cpu.signature.empty() && log.hypervisor) {
    const std::string& said = log.hypervisor->text;
    const std::string name = said.substr(said.rfind(": ") + 2);
    return name == "Microsoft Hyper-V" ? "Hyper-V" : name;
  }

  constexpr Word<std::string_view> names[] = {{"KVMKVMKVM", "KVM"},        {"Linux KVM Hv", "KVM"},
                                              {"Microsoft Hv", "Hyper-V"}, {"VMwareVMware", "VMware"},
                                              {"XenVMMXenVMM", "Xen"},     {"TCGTCGTCGTCG", "QEMU TCG"},
                                              {"ACRNACRNACRN", "ACRN"}};
  if (const auto name = find_word(names, cpu.signature)) return std::string{*name};
  return cpu.signature;
}

unsigned c_bit_of(const facts::HostFacts& host, Platform platform) {
  using enum machine::KeySelection;
  switch (machine::traits_of(platform).key_selection) {
    case none:
    case key_id:
    case page_state: return 0;
    case c_bit: return host.cpu.sev && host.cpu.sev->c_bit != 0 ? host.cpu.sev->c_bit : 51;
    // The highest of a guest-physical address: 48 or 52 of them.
    case shared_bit: return host.cpu.info && host.cpu.info->phys_bits.value_or(52) <= 48 ? 47 : 51;
  }
  return 0;
}

}  // namespace

System identify(const facts::HostFacts& host) {
  System system{.virtual_machine = is_guest(host) || host.kernel_log().hypervisor,
                .hypervisor = hypervisor_name(host.cpu, host.kernel_log())};
  for (const auto settles : {from_cpuid_of_tdx, from_hyperv, from_log, from_msr, from_devices,
                             from_guests_cpuid, from_command_line, from_ultravisor, from_other_architectures})
    if (settles(host, system)) break;
  if (!uses_vtom(system)) system.c_bit = c_bit_of(host, system.platform);
  system.virtual_machine = system.virtual_machine || cbit::is_guest(system.platform);
  system.known = !system.evidence.empty() || (host.cpu.info && host.cpu.info->x86);
  return system;
}

std::string describe(const System& system) {
  const machine::PlatformTraits& traits = machine::traits_of(system.platform);
  if (!system.unjudged.empty()) return system.unjudged + ": named, not judged";
  if (!system.known) return "nothing tells whether its memory is encrypted";
  if (traits.key_selection == machine::KeySelection::none)
    return system.virtual_machine ? "virtual machine, its memory is not encrypted"
                                  : "bare metal, memory is not encrypted by the kernel";
  const std::string name =
      fmt::format("{}{}{}", traits.vendor, traits.vendor.empty() ? "" : " ", traits.technology);
  std::string text = cbit::is_guest(system.platform) ? name + " guest" : "bare metal, " + name;
  if (uses_vtom(system))
    return text + (system.vtom == 0 ? " (vTOM)"
                                    : fmt::format(" (vTOM: shared from address bit {} on)", system.vtom));
  if (const std::string_view bit = key_bit_name(traits.key_selection); !bit.empty())
    text += fmt::format(" ({} {})", bit, system.c_bit);
  return text;
}

kernel::SwiotlbOptions swiotlb_options(const facts::HostFacts& host) {
  kernel::SwiotlbOptions options;
  if (const facts::KernelParameter* const given = host.kernel.line().last("swiotlb"))
    options = kernel::parse_swiotlb(given->value.value_or("")).value_or(kernel::SwiotlbOptions{});
  options.dynamic = spec::has_dynamic_swiotlb(spec::nearest_version(host.kernel.release)) &&
                    host.kernel.configured("SWIOTLB_DYNAMIC").value_or("n") == std::string_view{"y"};
  return options;
}

testbed::TestbedConfig model_of(const facts::HostFacts& host, const System& system, IommuMode iommu,
                                std::vector<std::string>& notes) {
  constexpr std::uint64_t memory_min = 64ull << 20, memory_max = 1ull << 40;
  constexpr unsigned cpus_max = 256;
  testbed::TestbedConfig config;
  machine::MachineConfig& machine = config.machine;
  machine.platform = system.platform;
  machine.virtual_machine = system.virtual_machine;
  const std::uint64_t bytes = host.memory.ram().value_or(4ull << 30);
  machine.memory_bytes = std::clamp(bytes & ~(page_size - 1), memory_min, memory_max);
  if (bytes > memory_max) notes.emplace_back("the model machine has 1 TiB of memory, its maximum");
  if (!host.memory.ram()) notes.emplace_back("the size of memory is not known; 4 GiB are assumed");
  machine.cpus = std::clamp(host.cpu.cpus, 1u, cpus_max);
  if (system.c_bit >= 32 && system.c_bit <= 51) machine.c_bit = system.c_bit;
  config.dma.version = spec::nearest_version(host.kernel.release);
  config.dma.swiotlb = swiotlb_options(host);
  config.dma.iommu = iommu;
  config.dma.debug = false;
  return config;
}

}  // namespace cbit::doctor
