// What an instruction needs a processor to have, as CPUID tells it.
//
// The names are those of AMD's CPUID description (APM vol. 3, appendix E) in lower case.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace cbit::isa {

enum class Feature : std::uint8_t {
  base,  // every processor with long mode has it
  fpu,
  cmov,
  cmpxchg8b,
  mmx,
  fxsr,
  sse,
  sse2,
  sse3,
  ssse3,
  sse41,
  sse42,
  sse4a,
  popcnt,
  cmpxchg16b,
  movbe,
  aes,
  pclmulqdq,
  rdrand,
  rdseed,
  xsave,
  xsaveopt,
  xsavec,
  xgetbv1,
  xsaves,
  clflush,
  clflushopt,
  clwb,
  clzero,
  fsgsbase,
  smap,
  smep,
  invpcid,
  rdtscp,
  rdpid,
  monitor,
  lahf64,
  lzcnt,
  bmi1,
  bmi2,
  adx,
  wbnoinvd,
  prefetchw,
  syscall,
  long_mode,
  svm,
  snp,
  rdpru,
  mcommit,
  erms,
  count
};

enum class CpuidRegister : std::uint8_t { none, eax, ebx, ecx, edx };

struct FeatureInfo {
  Feature feature{};
  std::string_view name;  // as Linux has it in /proc/cpuinfo, where it does
  std::uint32_t leaf = 0;
  std::uint32_t subleaf = 0;
  CpuidRegister in = CpuidRegister::none;
  std::uint8_t bit = 0;
};

// One entry per Feature, in its order.
[[nodiscard]] std::span<const FeatureInfo> feature_table();
[[nodiscard]] inline const FeatureInfo& info_of(Feature feature) {
  return feature_table()[static_cast<std::size_t>(feature)];
}

class FeatureSet {
 public:
  constexpr FeatureSet() = default;

  [[nodiscard]] bool has(Feature feature) const {
    return feature == Feature::base || bits_.test(static_cast<std::size_t>(feature));
  }
  FeatureSet& add(Feature feature) {
    bits_.set(static_cast<std::size_t>(feature));
    return *this;
  }
  FeatureSet& remove(Feature feature) {
    bits_.reset(static_cast<std::size_t>(feature));
    return *this;
  }

  friend bool operator==(const FeatureSet&, const FeatureSet&) = default;

 private:
  std::bitset<static_cast<std::size_t>(Feature::count)> bits_;
};

}  // namespace cbit::isa
