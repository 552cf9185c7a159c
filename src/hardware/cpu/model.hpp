// Which processor this is: what CPUID says, and what it can therefore be asked for.
//
// Family 19h like: AuthenticAMD, x86-64-v2 at first. APM vol. 3, appendix E.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "isa/feature.hpp"
#include "mem/key_layout.hpp"

namespace cbit::cpu {

// What CPUID Fn8000_001F tells, and MSR SEV_STATUS.
struct EncryptionModel {
  bool sme = false;
  bool sev = false;
  bool sev_es = false;
  bool sev_snp = false;
  unsigned c_bit = 51;
  unsigned reduced_phys_bits = 1;
  bool active_sev = false;  // SEV_STATUS: this is a guest with encrypted memory
  bool active_sev_es = false;
  bool active_sev_snp = false;
  bool smee = false;  // SYSCFG.SMEE (bit 23), read-only to a guest
};

struct Model {
  isa::FeatureSet features;
  std::uint8_t family = 0x19;
  std::uint8_t model = 0x01;
  std::uint8_t stepping = 1;
  std::string name = "cbit x86-64 processor";  // at most 47 characters
  unsigned phys_bits = 48;
  bool hypervisor = true;  // CPUID Fn0000_0001 ECX[31]
  bool pcid = true;
  std::uint64_t tsc_hz = 1'000'000'000;
  EncryptionModel encryption;
  // Leaves 4000_0000 and on, in order; none: they read as zeros.
  std::vector<std::array<std::uint32_t, 4>> hypervisor_leaves;

  [[nodiscard]] std::uint32_t signature() const;  // CPUID Fn0000_0001 EAX
};

// x86-64-v2 with what Linux needs besides: RDRAND, RDSEED, XSAVE, FSGSBASE, SMEP, SMAP, INVPCID, RDTSCP.
[[nodiscard]] isa::FeatureSet features_of_x86_64_v2();
[[nodiscard]] Model default_model();

}  // namespace cbit::cpu
