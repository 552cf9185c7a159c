#include "facts/cpu.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/text.hpp"

namespace cbit::facts {
namespace {

constexpr std::uint64_t cpuinfo_bytes_max = 16 << 20;  // 1.5 KiB a processor
constexpr unsigned cpus_max = 8192;                    // CONFIG_NR_CPUS of x86-64 at most

bool bit(std::uint32_t value, unsigned n) { return (value >> n & 1) != 0; }

std::string text_of(std::array<std::uint32_t, 3> regs) {
  std::array<char, sizeof regs> bytes;
  std::memcpy(bytes.data(), regs.data(), bytes.size());
  return printable({bytes.data(), bytes.size()});
}

void read_cpuid(const HostTree& tree, CpuFacts& cpu) {
  if (const auto leaf = tree.cpuid(0x8000'001f)) cpu.sev = sev_leaf(*leaf);
  if (const auto leaf = tree.cpuid(1)) {
    cpu.hypervisor = bit(leaf->ecx, 31);
    cpu.rdrand = bit(leaf->ecx, 30);
  }
  if (const auto leaf = tree.cpuid(7)) cpu.tme = bit(leaf->ecx, 13);
  // Intel TDX Module Base Architecture Specification: CPUID 21H, enumeration for the guest.
  if (const auto leaf = tree.cpuid(0x21))
    cpu.tdx_guest = text_of({leaf->ebx, leaf->edx, leaf->ecx}) == "IntelTDX";
  if (!cpu.hypervisor.value_or(false)) return;
  if (const auto leaf = tree.cpuid(0x4000'0000)) cpu.signature = hypervisor_signature(*leaf);
  if (cpu.signature != "Microsoft Hv") return;
  if (const auto leaf = tree.cpuid(0x4000'000c)) cpu.isolation = hyperv_isolation(leaf->eax, leaf->ebx);
}

// By the keys that only its /proc/cpuinfo has.
Architecture architecture_of(std::string_view key, std::string_view value) {
  if (key == "vendor_id") return value == "IBM/S390" ? Architecture::s390 : Architecture::x86;
  if (key == "CPU implementer") return Architecture::arm64;
  if (key == "cpu" && value.starts_with("POWER")) return Architecture::power;
  if (key == "hart") return Architecture::riscv;
  if (key == "CPU Family" && value.starts_with("Loongson")) return Architecture::loongarch;
  return Architecture::unknown;
}

}  // namespace

HypervIsolation hyperv_isolation(std::uint64_t eax, std::uint64_t ebx) {
  HypervIsolation found{.type = static_cast<unsigned>(ebx & 0xf), .paravisor = (eax & 1) != 0};
  if ((ebx >> 5 & 1) != 0) found.shared_boundary = static_cast<unsigned>(ebx >> 6 & 0x3f);
  return found;
}

SevLeaf sev_leaf(const CpuidRegs& regs) {
  return {.sme = bit(regs.eax, 0),
          .sev = bit(regs.eax, 1),
          .sev_es = bit(regs.eax, 3),
          .sev_snp = bit(regs.eax, 4),
          .sme_coherent = bit(regs.eax, 10),
          .c_bit = regs.ebx & 0x3f,
          .reduced_phys_bits = regs.ebx >> 6 & 0x3f,
          .asids = regs.ecx,
          .first_sev_asid = regs.edx};
}

CpuInfo parse_cpuinfo(std::string_view text) {
  CpuInfo info;
  for (const std::string_view line : lines_of(text)) {
    if (trimmed(line).empty()) {
      if (info.x86) break;  // the first processor is complete
      continue;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = trimmed(line.substr(0, colon)), value = trimmed(line.substr(colon + 1));
    if (key == "vendor_id") info.vendor = printable(value);
    if (const Architecture told = architecture_of(key, value); told != Architecture::unknown)
      info.architecture = told;
    info.x86 = info.architecture == Architecture::x86;
    if (key == "model name" || (key == "cpu" && info.model.empty())) info.model = printable(value);
    if (key == "cpu family") info.family = static_cast<unsigned>(decimal(value).value_or(0));
    if (key == "flags")
      for (const std::string_view flag : words_of(value)) info.flags.emplace(flag);
    if (key == "address sizes") {
      const auto words = words_of(value);
      const auto bits = words.empty() ? std::nullopt : decimal(words.front());
      if (bits && *bits >= 32 && *bits <= 64) info.phys_bits = static_cast<unsigned>(*bits);
    }
  }
  return info;
}

unsigned count_cpus(std::string_view list) {
  std::uint64_t count = 0;
  list = trimmed(list);
  while (!list.empty()) {
    const std::string_view range = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), range.size() + 1));
    const std::size_t dash = range.find('-');
    const auto first = decimal(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : decimal(range.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= cpus_max) return 0;
    count += *last - *first + 1;
  }
  return static_cast<unsigned>(std::min<std::uint64_t>(count, cpus_max));
}

std::string hypervisor_signature(const CpuidRegs& regs) { return text_of({regs.ebx, regs.ecx, regs.edx}); }

bool CpuFacts::amd() const {
  return info && (info->vendor == "AuthenticAMD" || info->vendor == "HygonGenuine");
}

bool CpuFacts::intel() const { return info && info->vendor == "GenuineIntel"; }

CpuFacts read_cpu(const HostTree& tree) {
  CpuFacts cpu;
  cpu.info = tree.read("/proc/cpuinfo", cpuinfo_bytes_max).map(parse_cpuinfo);
  if (const auto list = tree.read("/sys/devices/system/cpu/possible")) cpu.cpus = count_cpus(*list);
  if (cpu.info && !cpu.info->x86) return cpu;
  read_cpuid(tree, cpu);
  // Where CPUID was not captured, the kernel's view of it.
  if (!cpu.hypervisor && cpu.info) {
    cpu.hypervisor = cpu.has_flag("hypervisor");
    cpu.rdrand = cpu.has_flag("rdrand");
    cpu.tdx_guest = cpu.has_flag("tdx_guest");
    cpu.tme = cpu.has_flag("tme");
  }
  // MSRs of the other vendor only cost a fault.
  if (cpu.amd() && cpu.sev) {
    cpu.sev_status = tree.msr(msr_sev_status);
    cpu.syscfg = tree.msr(msr_syscfg);
  }
  if (cpu.intel() && cpu.tme) cpu.tme_activate = tree.msr(msr_tme_activate);
  return cpu;
}

}  // namespace cbit::facts
