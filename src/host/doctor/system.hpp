// Which of the model's platforms this system is, and how that is known.
#pragma once

#include <string>
#include <vector>

#include "cbit/platform.hpp"
#include "facts/host_facts.hpp"
#include "testbed/testbed.hpp"

namespace cbit::doctor {

// A thing that was read: the file, register or message, and what it said.
struct HostEvidence {
  std::string source;
  std::string text;
  friend bool operator==(const HostEvidence&, const HostEvidence&) = default;
};

struct System {
  Platform platform = Platform::plain;
  bool virtual_machine = false;
  bool paravisor = false;  // Hyper-V: between the guest and its host
  unsigned c_bit = 0;      // 0: no memory is encrypted, or the bit is not in its addresses
  unsigned vtom = 0;       // SEV-SNP with a paravisor: shared from that bit on; 0: not known
  // What protects this system's memory and cbit does not judge: "IBM Secure Execution". Empty: nothing.
  std::string unjudged;
  bool known = true;                   // false: nothing tells what it is
  std::vector<HostEvidence> evidence;  // of the platform
  std::string hypervisor;              // "KVM", "Hyper-V", ...; empty: none, or not known
};
// SEV-SNP whose shared memory lies above a boundary (vTOM), which the paravisor sets: it has no C-bit.
[[nodiscard]] constexpr bool uses_vtom(const System& system) {
  return system.paravisor && system.platform == Platform::sev_snp;
}
[[nodiscard]] System identify(const facts::HostFacts& host);

// A host that encrypts all of its memory, as SME does.
[[nodiscard]] constexpr bool encrypts_itself(Platform platform) {
  return machine::traits_of(platform).cc.has(spec::CcAttr::host_mem_encrypt);
}

// "AMD SEV-SNP guest", "bare metal, AMD SME", "virtual machine, memory not encrypted".
[[nodiscard]] std::string describe(const System& system);

// The model machine that decides as this system does, with that IOMMU mode. `notes` gets what had to differ.
[[nodiscard]] testbed::TestbedConfig model_of(const facts::HostFacts& host, const System& system,
                                              IommuMode iommu, std::vector<std::string>& notes);

// The kernel's swiotlb= parameter as it takes it: parts that it does not understand are ignored.
[[nodiscard]] kernel::SwiotlbOptions swiotlb_options(const facts::HostFacts& host);

}  // namespace cbit::doctor
