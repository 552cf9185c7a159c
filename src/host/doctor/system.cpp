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

bool from_hyperv(const facts::HostFacts& host, System& system) {
  const unsigned isolation = host.cpu.hyperv_isolation.value_or(0);
  if (isolation != 2 && isolation != 3) return false;
  system.platform = isolation == 2 ? Platform::sev_snp : Platform::tdx;
  system.paravisor = host.cpu.paravisor;
  system.evidence.push_back(
      {"CPUID 4000000C EBX", fmt::format("isolation type {}{}", isolation == 2 ? "SNP" : "TDX",
                                         host.cpu.paravisor ? ", with a paravisor" : "")});
  return true;
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

std::string hypervisor_name(const facts::CpuFacts& cpu) {
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
    case c_bit: return host.cpu.sev ? host.cpu.sev->c_bit : 51;
    // The highest of a guest-physical address: 48 or 52 of them.
    case shared_bit: return host.cpu.info && host.cpu.info->phys_bits.value_or(52) <= 48 ? 47 : 51;
  }
  return 0;
}

}  // namespace

System identify(const facts::HostFacts& host) {
  System system{.virtual_machine = is_guest(host), .hypervisor = hypervisor_name(host.cpu)};
  for (const auto settles : {from_cpuid_of_tdx, from_hyperv, from_log, from_msr, from_devices,
                             from_guests_cpuid, from_command_line, from_ultravisor})
    if (settles(host, system)) break;
  system.c_bit = c_bit_of(host, system.platform);
  system.virtual_machine = system.virtual_machine || cbit::is_guest(system.platform);
  return system;
}

std::string describe(const System& system) {
  const machine::PlatformTraits& traits = machine::traits_of(system.platform);
  if (traits.key_selection == machine::KeySelection::none)
    return system.virtual_machine ? "virtual machine, its memory is not encrypted"
                                  : "bare metal, memory is not encrypted by the kernel";
  const std::string name =
      fmt::format("{}{}{}", traits.vendor, traits.vendor.empty() ? "" : " ", traits.technology);
  std::string text = cbit::is_guest(system.platform) ? name + " guest" : "bare metal, " + name;
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
