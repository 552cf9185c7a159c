// What the machine itself has: processor, SME, TME, IOMMU, and what this guest is.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "doctor/check.hpp"
#include "watch/cause_table.hpp"

namespace cbit::doctor::checks {
namespace {

constexpr std::uint64_t syscfg_mem_encrypt = 1 << 23, tme_enabled = 1 << 1;

bool plain_guest(const CheckSubject& s) {
  return machine::traits_of(s.system.platform).key_selection == machine::KeySelection::none;
}

}  // namespace

bool encrypted_guest(const CheckSubject& s) { return is_guest(s.system.platform); }

Outcome processor(const CheckSubject& s) {
  const facts::CpuFacts& cpu = s.host.cpu;
  const std::string release =
      s.host.kernel.release_text ? "Linux " + *s.host.kernel.release_text : "unknown kernel";
  if (!cpu.info)
    return {.says = fmt::format("/proc/cpuinfo: {}", to_string(cpu.info.error())),
            .remedy = "mount /proc, or capture a tree in which it is"};
  if (!cpu.info->x86 && !s.host.ultravisor_guest)
    return {.says = fmt::format("{}, {}: cbit knows the encryption of x86 and POWER", release,
                                word_of(facts::architecture_words, cpu.info->architecture))};
  return {
      .state = CheckState::pass,
      .says = fmt::format("{}, {}", cpu.info->model.empty() ? "unknown model" : cpu.info->model, release)};
}

Outcome sme(const CheckSubject& s) {
  const auto& sev = s.host.cpu.sev;
  if (!sev || !sev->sme) return {.says = "the processor has none (CPUID 8000001F EAX[0])"};
  return {.state = CheckState::pass,
          .says = fmt::format("the processor has it, C-bit {}, {} physical address bit{} less", sev->c_bit,
                              sev->reduced_phys_bits, sev->reduced_phys_bits == 1 ? "" : "s"),
          .evidence = {
              {"CPUID 8000001F EBX", fmt::format("C-bit {}, -{} bits", sev->c_bit, sev->reduced_phys_bits)}}};
}

Outcome sme_firmware(const CheckSubject& s) {
  const facts::CpuFacts& cpu = s.host.cpu;
  constexpr std::string_view remedy = "switch SMEE (\"Secure Memory Encryption\") on in the firmware";
  if (cpu.syscfg) {
    const bool on = (*cpu.syscfg & syscfg_mem_encrypt) != 0;
    return {.state = on ? CheckState::pass : CheckState::skip,
            .says = on ? "SYSCFG[23] is 1" : "SYSCFG[23] is 0",
            .evidence = {{"MSR C0010010 (SYSCFG)", fmt::format("{:#x}", *cpu.syscfg)}},
            .remedy = on ? "" : std::string{remedy}};
  }
  // The kernel takes the flag away where SYSCFG[23] is 0 (cpu/amd.c: early_detect_mem_encrypt).
  const bool on = cpu.has_flag("sme") || encrypts_itself(s.system.platform);
  return {.state = on ? CheckState::pass : CheckState::skip,
          .says = on ? "the kernel shows the flag sme" : "the kernel hides the flag sme",
          .evidence = {{"/proc/cpuinfo", on ? "flags: sme" : "flags: no sme"}},
          .remedy = on ? "" : std::string{remedy}};
}

Outcome sme_active(const CheckSubject& s) {
  if (encrypts_itself(s.system.platform))
    return {.state = CheckState::pass, .says = "all memory is encrypted", .evidence = s.system.evidence};
  const std::string given = s.host.kernel.line().shown("mem_encrypt");
  return {.says = given.empty() ? "no, mem_encrypt=on is not on the command line" : "no, " + given,
          .evidence = {{"/proc/cmdline", given.empty() ? "no mem_encrypt=" : given}},
          .remedy = "boot with mem_encrypt=on to encrypt all memory"};
}

Outcome tme(const CheckSubject& s) {
  const facts::CpuFacts& cpu = s.host.cpu;
  if (!cpu.tme) return {.says = "the processor has none (CPUID 7 ECX[13])"};
  if (!cpu.tme_activate)
    return {.says = fmt::format("the processor has it; whether it is on, MSR 982 tells ({})",
                                to_string(cpu.tme_activate.error())),
            .remedy = "modprobe msr and run as root to know"};
  const bool on = (*cpu.tme_activate & tme_enabled) != 0;
  return {.state = on ? CheckState::pass : CheckState::skip,
          .says = on ? fmt::format("on, {} KeyID bits, transparent to DMA", *cpu.tme_activate >> 32 & 0xf)
                     : "the firmware left it off",
          .evidence = {{"MSR 982 (IA32_TME_ACTIVATE)", fmt::format("{:#x}", *cpu.tme_activate)}},
          .remedy = on ? "" : "switch TME on in the firmware"};
}

Outcome tsme(const CheckSubject& s) {
  const auto& said = s.host.kernel_log().tsme;
  if (!s.host.tsme.value_or(said.has_value())) return {.says = "the firmware left it off"};
  const HostEvidence evidence =
      said ? HostEvidence{"kernel log", said->text} : HostEvidence{"tsme_status", "1"};
  return {.state = CheckState::pass,
          .says = "on: all memory is encrypted, below what software and devices see",
          .evidence = {evidence}};
}

Outcome guest(const CheckSubject& s) {
  if (!s.system.unjudged.empty()) return {.says = describe(s.system), .evidence = s.system.evidence};
  if (plain_guest(s)) return {.says = "no, it is a plain virtual machine"};
  return {.state = CheckState::pass, .says = describe(s.system), .evidence = s.system.evidence};
}

Outcome guest_registers(const CheckSubject& s) {
  if (machine::traits_of(s.system.platform).cc.has(spec::CcAttr::guest_state_encrypt))
    return {.state = CheckState::pass, .says = "yes"};
  return {.says = "no, plain SEV: the host sees registers at every exit",
          .remedy = "start it with the policy bit 2 (SEV-ES)"};
}

Outcome guest_integrity(const CheckSubject& s) {
  if (machine::traits_of(s.system.platform).protection != mem::MemoryProtection::none)
    return {.state = CheckState::pass, .says = "yes"};
  return {.says = "no, SEV and SEV-ES keep memory secret, not whole",
          .remedy = "use SEV-SNP, where host and kernel have it"};
}

Outcome guest_rdrand(const CheckSubject& s) {
  if (s.host.cpu.rdrand) return {.state = CheckState::pass, .says = "yes"};
  if (!s.host.cpu.hypervisor) return {.says = "neither CPUID nor /proc/cpuinfo could be read"};
  return {.state = CheckState::fail,
          .says = "CPUID 1 ECX[30] is 0",
          .evidence = {{"CPUID 1 ECX", "bit 30 is 0"}},
          .remedy = "give the guest a CPU model with RDRAND (-cpu EPYC,+rdrand): Linux panics without it"};
}

Outcome guest_iommu(const CheckSubject& s) {
  std::vector<HostEvidence> evidence;
  for (const auto& [group, type] : s.host.iommu.groups)
    if (s.host.iommu.mode_of(group) == IommuMode::translated)
      evidence.push_back(
          {fmt::format("/sys/kernel/iommu_groups/{}/type", printable(group, 20)), printable(*type)});
  if (evidence.empty()) return {.state = CheckState::pass, .says = "none"};
  return {.state = CheckState::fail,
          .says = fmt::format("{} group{} of a translating IOMMU", evidence.size(),
                              evidence.size() == 1 ? "" : "s"),
          .evidence = std::move(evidence),
          .causes = {&watch::cause("guest-iommu-skips-bounce")}};
}

Outcome guest_nvdimm(const CheckSubject& s) {
  if (s.host.memory.nvdimms.empty()) return {.state = CheckState::pass, .says = "none"};
  return {.state = CheckState::warn,
          .says = fmt::format("{} on the nd bus", s.host.memory.nvdimms.front()),
          .evidence = {{"/sys/bus/nd/devices", printable(s.host.memory.nvdimms.front(), 40)}},
          .remedy =
              "use virtio-blk or an initramfs: a DAX mapping is of pages that the host can read, or "
              "that read as ciphertext"};
}

Outcome iommu(const CheckSubject& s) {
  const facts::IommuFacts& facts = s.host.iommu;
  if (!facts.present())
    return {.says = "none is in use",
            .evidence = {{"/sys/class/iommu",
                          facts.units ? "empty" : std::string{to_string(facts.units.error())}}},
            .remedy = encrypts_itself(s.system.platform)
                          ? "switch it on: devices that cannot drive the C-bit bounce without it"
                          : ""};
  const std::size_t identity = facts.passthrough_groups();
  std::vector<HostEvidence> evidence;
  for (const auto& [group, type] : facts.groups)
    if (evidence.size() < 1)
      evidence.push_back({fmt::format("/sys/kernel/iommu_groups/{}/type", printable(group, 20)),
                          type ? printable(*type) : std::string{to_string(type.error())}});
  return {.state = CheckState::pass,
          .says = fmt::format("{} of {} groups translate, {} pass through", facts.groups.size() - identity,
                              facts.groups.size(), identity),
          .evidence = std::move(evidence)};
}

}  // namespace cbit::doctor::checks
