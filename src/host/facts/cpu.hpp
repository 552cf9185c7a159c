// The processor: what encrypts memory in it, and whether it is a virtual one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::facts {

// CPUID 8000001F.
struct SevLeaf {
  bool sme = false;                // EAX[0]
  bool sev = false;                // EAX[1]
  bool sev_es = false;             // EAX[3]
  bool sev_snp = false;            // EAX[4]
  bool sme_coherent = false;       // EAX[10]
  unsigned c_bit = 0;              // EBX[5:0]
  unsigned reduced_phys_bits = 0;  // EBX[11:6]
  unsigned asids = 0;              // ECX: the highest ASID
  unsigned first_sev_asid = 0;     // EDX: SEV-ES and SNP use 1 .. EDX - 1
};
[[nodiscard]] SevLeaf sev_leaf(const CpuidRegs& regs);

enum class Architecture : std::uint8_t { unknown, x86, arm64, power, s390, riscv, loongarch };

// For people.
inline constexpr Word<Architecture> architecture_words[] = {
    {"an architecture that is not known", Architecture::unknown},
    {"x86", Architecture::x86},
    {"arm64", Architecture::arm64},
    {"POWER", Architecture::power},
    {"IBM Z (s390)", Architecture::s390},
    {"RISC-V", Architecture::riscv},
    {"LoongArch", Architecture::loongarch}};

// /proc/cpuinfo, of its first processor.
struct CpuInfo {
  bool x86 = false;
  Architecture architecture = Architecture::unknown;
  std::string vendor;
  std::string model;
  unsigned family = 0;
  std::set<std::string, std::less<>> flags;
  std::optional<unsigned> phys_bits;  // "address sizes", after the kernel took off what encryption costs
};
[[nodiscard]] CpuInfo parse_cpuinfo(std::string_view text);

// "0-3,8,10-11" of /sys/devices/system/cpu/possible; 0 for what is no such list.
[[nodiscard]] unsigned count_cpus(std::string_view list);

// CPUID 40000000: "KVMKVMKVM", "Microsoft Hv", "VMwareVMware", ...
[[nodiscard]] std::string hypervisor_signature(const CpuidRegs& regs);

// MSRs (AMD APM vol. 2, 15.34.10 and 7.10; Intel SDM vol. 4).
inline constexpr std::uint32_t msr_syscfg = 0xc001'0010;      // bit 23: MemEncryptionModEn
inline constexpr std::uint32_t msr_sev_status = 0xc001'0131;  // bits 0 SEV, 1 SEV-ES, 2 SNP
inline constexpr std::uint32_t msr_tme_activate = 0x982;      // bit 1 enabled, bits 35:32 KeyID bits

// The Hyper-V leaf 4000000C: Hypervisor Top Level Functional Specification, isolation configuration.
struct HypervIsolation {
  unsigned type = 0;                        // EBX[3:0]: 1 VBS, 2 SNP, 3 TDX
  bool paravisor = false;                   // EAX[0]
  std::optional<unsigned> shared_boundary;  // EBX[11:6], where EBX[5]: shared from that address bit on
};
[[nodiscard]] HypervIsolation hyperv_isolation(std::uint64_t eax, std::uint64_t ebx);

struct CpuFacts {
  Read<CpuInfo> info = tl::unexpected{Unread::absent};
  unsigned cpus = 0;                         // possible ones; 0: not known
  std::optional<SevLeaf> sev;                // CPUID 8000001F
  std::optional<bool> hypervisor;            // CPUID 1 ECX[31], or the flag of that name
  std::string signature;                     // of the hypervisor; empty: none, or not known
  bool tdx_guest = false;                    // CPUID 21 says "IntelTDX    "
  std::optional<HypervIsolation> isolation;  // CPUID 4000000C
  bool rdrand = false;                       // CPUID 1 ECX[30]
  bool tme = false;                          // CPUID 7 ECX[13]
  Read<std::uint64_t> sev_status = tl::unexpected{Unread::absent};
  Read<std::uint64_t> syscfg = tl::unexpected{Unread::absent};
  Read<std::uint64_t> tme_activate = tl::unexpected{Unread::absent};

  [[nodiscard]] bool amd() const;
  [[nodiscard]] bool intel() const;
  [[nodiscard]] bool has_flag(std::string_view flag) const { return info && info->flags.contains(flag); }
};
[[nodiscard]] CpuFacts read_cpu(const HostTree& tree);

}  // namespace cbit::facts
