// CPUID: one function per leaf. APM vol. 3, appendix E.
#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

using isa::CpuidRegister;
using Leaf = std::array<std::uint32_t, 4>;  // EAX, EBX, ECX, EDX

constexpr std::uint32_t highest_standard = 0xd;
constexpr std::uint32_t highest_extended = 0x8000'0021;
constexpr std::uint32_t hypervisor_base = 0x4000'0000;

constexpr Leaf vendor{0, 0x6874'7541, 0x444d'4163, 0x6974'6e65};  // "AuthenticAMD", in EBX, EDX, ECX

struct Request {
  const Core& core;
  std::uint32_t leaf = 0;
  std::uint32_t subleaf = 0;

  [[nodiscard]] const Model& model() const { return core.config.model; }
  [[nodiscard]] bool has(isa::Feature feature) const { return model().features.has(feature); }
};

std::uint32_t& at(Leaf& leaf, CpuidRegister which) {
  return leaf[static_cast<std::size_t>(which) - static_cast<std::size_t>(CpuidRegister::eax)];
}

// The bits of all features that this leaf tells.
Leaf feature_bits(const Request& request) {
  Leaf leaf{};
  for (const isa::FeatureInfo& info : isa::feature_table())
    if (info.in != CpuidRegister::none && info.leaf == request.leaf && info.subleaf == request.subleaf &&
        request.has(info.feature))
      at(leaf, info.in) |= 1u << info.bit;
  return leaf;
}

Leaf standard_range(const Request&) {
  Leaf leaf = vendor;
  leaf[0] = highest_standard;
  return leaf;
}

// What no feature of the table stands for, and every processor here has.
constexpr std::uint32_t edx_1_always = 1u << 2      // DE
                                       | 1u << 3    // PSE
                                       | 1u << 4    // TSC
                                       | 1u << 5    // MSR
                                       | 1u << 6    // PAE
                                       | 1u << 7    // MCE
                                       | 1u << 12   // MTRR
                                       | 1u << 13   // PGE
                                       | 1u << 14   // MCA
                                       | 1u << 16   // PAT
                                       | 1u << 17;  // PSE36
constexpr std::uint32_t edx_1_apic = 1u << 9;
constexpr std::uint32_t edx_1_htt = 1u << 28;
constexpr std::uint32_t ecx_1_pcid = 1u << 17;
constexpr std::uint32_t ecx_1_x2apic = 1u << 21;
constexpr std::uint32_t ecx_1_tsc_deadline = 1u << 24;
constexpr std::uint32_t ecx_1_osxsave = 1u << 27;
constexpr std::uint32_t ecx_1_hypervisor = 1u << 31;
constexpr std::uint32_t clflush_quads = cache_line_size / 8;

Leaf standard_features(const Request& request) {
  Leaf leaf = feature_bits(request);
  const Core& core = request.core;
  leaf[0] = request.model().signature();
  leaf[1] = std::uint32_t{core.config.index} << 24 | clflush_quads << 8;
  leaf[2] |= ecx_1_x2apic | ecx_1_tsc_deadline;
  if (request.model().pcid) leaf[2] |= ecx_1_pcid;
  if ((core.sys.cr4 & cr4::osxsave) != 0) leaf[2] |= ecx_1_osxsave;
  if (request.model().hypervisor) leaf[2] |= ecx_1_hypervisor;
  leaf[3] |= edx_1_always;
  if (core.board.interrupts.enabled()) leaf[3] |= edx_1_apic;
  if (core.config.cpus > 1) {
    leaf[1] |= std::uint32_t{core.config.cpus} << 16;
    leaf[3] |= edx_1_htt;
  }
  return leaf;
}

// Fn0000_0006 EAX[2]: the APIC timer runs always.
Leaf power(const Request&) { return {1u << 2, 0, 0, 0}; }

Leaf structured_features(const Request& request) { return feature_bits(request); }

// How many bits of an APIC ID number the cores of the package.
std::uint32_t core_id_bits(const Request& request) {
  return static_cast<std::uint32_t>(std::bit_width(request.core.config.cpus - 1u));
}

// One package of cores of one thread: APM vol. 3, E.3.6 (Fn0000_000B).
Leaf topology(const Request& request) {
  constexpr std::uint32_t level_thread = 1;
  constexpr std::uint32_t level_core = 2;
  const std::uint32_t id = request.core.config.index;
  if (request.subleaf == 0) return {0, 1, level_thread << 8, id};
  if (request.subleaf == 1) return {core_id_bits(request), request.core.config.cpus, level_core << 8 | 1, id};
  return {0, 0, request.subleaf, id};
}

// x87 and SSE in the legacy area, and a header. APM vol. 3, E.3.8; vol. 2, 11.5.
Leaf extended_state(const Request& request) {
  constexpr std::uint32_t legacy_and_header = 512 + 64;
  if (!request.has(isa::Feature::xsave)) return {};
  if (request.subleaf == 0) return {3, legacy_and_header, legacy_and_header, 0};
  if (request.subleaf == 1) {
    Leaf leaf = feature_bits(request);
    leaf[1] = legacy_and_header;
    return leaf;
  }
  return {};
}

Leaf hypervisor(const Request& request) {
  const auto& leaves = request.model().hypervisor_leaves;
  const std::uint32_t number = request.leaf - hypervisor_base;
  return number < leaves.size() ? leaves[number] : Leaf{};
}

Leaf extended_range(const Request&) {
  Leaf leaf = vendor;
  leaf[0] = highest_extended;
  return leaf;
}

// Fn8000_0001 EDX repeats what Fn0000_0001 EDX has in these places.
constexpr std::uint32_t edx_repeated = 0x0183'f3ff;
constexpr std::uint32_t edx_ext_nx = 1u << 20;
constexpr std::uint32_t edx_ext_page_1g = 1u << 26;
constexpr std::uint32_t ecx_ext_cmp_legacy = 1u << 1;  // HTT stands for cores, not threads
constexpr std::uint32_t ecx_ext_cr8_legacy = 1u << 4;

Leaf extended_features(const Request& request) {
  Leaf leaf = feature_bits(request);
  const Leaf standard = standard_features({request.core, 1, 0});
  leaf[0] = standard[0];
  leaf[2] |= ecx_ext_cr8_legacy;
  if (request.core.config.cpus > 1) leaf[2] |= ecx_ext_cmp_legacy;
  leaf[3] |= (standard[3] & edx_repeated) | edx_ext_nx | edx_ext_page_1g;
  return leaf;
}

Leaf name(const Request& request) {
  std::array<char, 48> text{};
  const std::string& from = request.model().name;
  std::memcpy(text.data(), from.data(), std::min(from.size(), text.size() - 1));
  Leaf leaf{};
  std::memcpy(leaf.data(), text.data() + (request.leaf - 0x8000'0002) * sizeof leaf, sizeof leaf);
  return leaf;
}

// L1: 32 KiB, 8-way, lines of 64 bytes. L2: 512 KiB. APM vol. 3, E.4.5 and E.4.6.
Leaf first_level_caches(const Request&) {
  constexpr std::uint32_t cache = 32u << 24 | 8u << 16 | 1u << 8 | cache_line_size;
  return {0, 0, cache, cache};
}
Leaf second_level_cache(const Request&) {
  return {0, 0, 512u << 16 | 6u << 12 | 1u << 8 | cache_line_size, 0};
}

// Fn8000_0007 EDX[8]: the TSC runs at one rate always.
Leaf advanced_power(const Request&) { return {0, 0, 0, 1u << 8}; }

// Nothing is done here before it is known to be wanted, so that there is nothing to be found out from: a
// kernel need not mend what other processors leak (AMD's "Software Techniques for Managing Speculation";
// Linux' arch/x86/include/asm/cpufeatures.h).
constexpr std::uint32_t ebx_8_ssb_no = 1u << 26;
constexpr std::uint32_t ebx_8_btc_no = 1u << 29;
constexpr std::uint32_t eax_21_lfence_serializes = 1u << 2;
constexpr std::uint32_t eax_21_null_select_clears_base = 1u << 6;
constexpr std::uint32_t eax_21_automatic_ibrs = 1u << 8;
constexpr std::uint32_t eax_21_srso_no = 1u << 29;
constexpr std::uint32_t ecx_21_tsa_sq_no = 1u << 1;
constexpr std::uint32_t ecx_21_tsa_l1_no = 1u << 2;

Leaf address_widths(const Request& request) {
  Leaf leaf = feature_bits(request);
  constexpr std::uint32_t linear_bits = 48;
  leaf[0] = request.model().phys_bits | linear_bits << 8;
  leaf[1] |= ebx_8_ssb_no | ebx_8_btc_no;
  leaf[2] = core_id_bits(request) << 12 | (request.core.config.cpus - 1u);
  return leaf;
}

// APM vol. 3, E.4.17 (Fn8000_001F).
Leaf encryption(const Request& request) {
  const EncryptionModel& model = request.model().encryption;
  if (!model.sme && !model.sev) return {};
  constexpr std::uint32_t coherent = 1u << 10;
  const std::uint32_t features = (model.sme ? 1u : 0) | (model.sev ? 1u << 1 : 0) |
                                 (model.sev_es ? 1u << 3 : 0) | (model.sev_snp ? 1u << 4 : 0) | coherent;
  constexpr std::uint32_t coherency_sfw_no = 1u << 31;
  return {features, model.c_bit | model.reduced_phys_bits << 6 | (model.sev_snp ? coherency_sfw_no : 0), 15,
          1};
}

Leaf more_features(const Request&) {
  return {eax_21_lfence_serializes | eax_21_null_select_clears_base | eax_21_automatic_ibrs | eax_21_srso_no,
          0, ecx_21_tsa_sq_no | ecx_21_tsa_l1_no, 0};
}

// Which have subleaves: cpuid_function_is_indexed() in Linux' arch/x86/include/asm/cpuid.h.
struct LeafRow {
  std::uint32_t first;
  std::uint32_t last;
  Leaf (*compute)(const Request&);
  bool has_subleaves = false;  // else ECX counts for nothing, and may hold anything
};
constexpr LeafRow rows[] = {
    {0, 0, standard_range},
    {1, 1, standard_features},
    {6, 6, power},
    {7, 7, structured_features, true},
    {0xb, 0xb, topology, true},
    {0xd, 0xd, extended_state, true},
    {hypervisor_base, hypervisor_base + 0xff, hypervisor},
    {0x8000'0000, 0x8000'0000, extended_range},
    {0x8000'0001, 0x8000'0001, extended_features},
    {0x8000'0002, 0x8000'0004, name},
    {0x8000'0005, 0x8000'0005, first_level_caches},
    {0x8000'0006, 0x8000'0006, second_level_cache},
    {0x8000'0007, 0x8000'0007, advanced_power},
    {0x8000'0008, 0x8000'0008, address_widths},
    {0x8000'001f, 0x8000'001f, encryption},
    {0x8000'0021, 0x8000'0021, more_features},
};

}  // namespace

std::uint32_t Model::signature() const {
  constexpr std::uint8_t extended_family_from = 0xf;
  const std::uint32_t base_family = std::min(family, extended_family_from);
  return (family - base_family) << 20 | static_cast<std::uint32_t>(model >> 4) << 16 | base_family << 8 |
         static_cast<std::uint32_t>(model & 0xf) << 4 | stepping;
}

isa::FeatureSet features_of_x86_64_v2() {
  using isa::Feature;
  isa::FeatureSet features;
  for (const Feature feature :
       {Feature::fpu,     Feature::cmov,       Feature::cmpxchg8b,  Feature::mmx,    Feature::fxsr,
        Feature::sse,     Feature::sse2,       Feature::sse3,       Feature::ssse3,  Feature::sse41,
        Feature::sse42,   Feature::popcnt,     Feature::cmpxchg16b, Feature::movbe,  Feature::rdrand,
        Feature::rdseed,  Feature::xsave,      Feature::xsaveopt,   Feature::xsavec, Feature::xgetbv1,
        Feature::clflush, Feature::clflushopt, Feature::fsgsbase,   Feature::smap,   Feature::smep,
        Feature::invpcid, Feature::rdtscp,     Feature::rdpid,      Feature::lahf64, Feature::prefetchw,
        Feature::syscall, Feature::long_mode,  Feature::erms})
    features.add(feature);
  return features;
}

Model default_model() { return {.features = features_of_x86_64_v2()}; }

std::array<std::uint32_t, 4> Core::cpuid(std::uint32_t leaf, std::uint32_t subleaf) const {
  for (const LeafRow& row : rows)
    if (leaf >= row.first && leaf <= row.last)
      return row.compute({*this, leaf, row.has_subleaves ? subleaf : 0});
  return {};
}

}  // namespace cbit::cpu
