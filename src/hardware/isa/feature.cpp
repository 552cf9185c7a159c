#include "isa/feature.hpp"

#include <iterator>

namespace cbit::isa {
namespace {

// APM vol. 3, appendix E; ADX, SMEP, FSGSBASE and their like are in E.3.6, the extended state in E.3.8.
constexpr FeatureInfo features[] = {
    {Feature::base, "base"},
    {Feature::fpu, "fpu", 1, 0, CpuidRegister::edx, 0},
    {Feature::cmov, "cmov", 1, 0, CpuidRegister::edx, 15},
    {Feature::cmpxchg8b, "cx8", 1, 0, CpuidRegister::edx, 8},
    {Feature::mmx, "mmx", 1, 0, CpuidRegister::edx, 23},
    {Feature::fxsr, "fxsr", 1, 0, CpuidRegister::edx, 24},
    {Feature::sse, "sse", 1, 0, CpuidRegister::edx, 25},
    {Feature::sse2, "sse2", 1, 0, CpuidRegister::edx, 26},
    {Feature::sse3, "pni", 1, 0, CpuidRegister::ecx, 0},
    {Feature::ssse3, "ssse3", 1, 0, CpuidRegister::ecx, 9},
    {Feature::sse41, "sse4_1", 1, 0, CpuidRegister::ecx, 19},
    {Feature::sse42, "sse4_2", 1, 0, CpuidRegister::ecx, 20},
    {Feature::sse4a, "sse4a", 0x8000'0001, 0, CpuidRegister::ecx, 6},
    {Feature::popcnt, "popcnt", 1, 0, CpuidRegister::ecx, 23},
    {Feature::cmpxchg16b, "cx16", 1, 0, CpuidRegister::ecx, 13},
    {Feature::movbe, "movbe", 1, 0, CpuidRegister::ecx, 22},
    {Feature::aes, "aes", 1, 0, CpuidRegister::ecx, 25},
    {Feature::pclmulqdq, "pclmulqdq", 1, 0, CpuidRegister::ecx, 1},
    {Feature::rdrand, "rdrand", 1, 0, CpuidRegister::ecx, 30},
    {Feature::rdseed, "rdseed", 7, 0, CpuidRegister::ebx, 18},
    {Feature::xsave, "xsave", 1, 0, CpuidRegister::ecx, 26},
    {Feature::xsaveopt, "xsaveopt", 0xd, 1, CpuidRegister::eax, 0},
    {Feature::xsavec, "xsavec", 0xd, 1, CpuidRegister::eax, 1},
    {Feature::xgetbv1, "xgetbv1", 0xd, 1, CpuidRegister::eax, 2},
    {Feature::xsaves, "xsaves", 0xd, 1, CpuidRegister::eax, 3},
    {Feature::clflush, "clflush", 1, 0, CpuidRegister::edx, 19},
    {Feature::clflushopt, "clflushopt", 7, 0, CpuidRegister::ebx, 23},
    {Feature::clwb, "clwb", 7, 0, CpuidRegister::ebx, 24},
    {Feature::clzero, "clzero", 0x8000'0008, 0, CpuidRegister::ebx, 0},
    {Feature::fsgsbase, "fsgsbase", 7, 0, CpuidRegister::ebx, 0},
    {Feature::smap, "smap", 7, 0, CpuidRegister::ebx, 20},
    {Feature::smep, "smep", 7, 0, CpuidRegister::ebx, 7},
    {Feature::invpcid, "invpcid", 7, 0, CpuidRegister::ebx, 10},
    {Feature::rdtscp, "rdtscp", 0x8000'0001, 0, CpuidRegister::edx, 27},
    {Feature::rdpid, "rdpid", 7, 0, CpuidRegister::ecx, 22},
    {Feature::monitor, "monitor", 1, 0, CpuidRegister::ecx, 3},
    {Feature::lahf64, "lahf_lm", 0x8000'0001, 0, CpuidRegister::ecx, 0},
    {Feature::lzcnt, "abm", 0x8000'0001, 0, CpuidRegister::ecx, 5},
    {Feature::bmi1, "bmi1", 7, 0, CpuidRegister::ebx, 3},
    {Feature::bmi2, "bmi2", 7, 0, CpuidRegister::ebx, 8},
    {Feature::adx, "adx", 7, 0, CpuidRegister::ebx, 19},
    {Feature::wbnoinvd, "wbnoinvd", 0x8000'0008, 0, CpuidRegister::ebx, 9},
    {Feature::prefetchw, "3dnowprefetch", 0x8000'0001, 0, CpuidRegister::ecx, 8},
    {Feature::syscall, "syscall", 0x8000'0001, 0, CpuidRegister::edx, 11},
    {Feature::long_mode, "lm", 0x8000'0001, 0, CpuidRegister::edx, 29},
    {Feature::svm, "svm", 0x8000'0001, 0, CpuidRegister::ecx, 2},
    {Feature::snp, "sev_snp", 0x8000'001f, 0, CpuidRegister::eax, 4},
    {Feature::rdpru, "rdpru", 0x8000'0008, 0, CpuidRegister::ebx, 4},
    {Feature::mcommit, "mcommit", 0x8000'0008, 0, CpuidRegister::ebx, 8},
    {Feature::erms, "erms", 7, 0, CpuidRegister::ebx, 9},
};
static_assert(std::size(features) == static_cast<std::size_t>(Feature::count));

constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(features); ++i)
    if (static_cast<std::size_t>(features[i].feature) != i) return false;
  return true;
}
static_assert(in_order());

}  // namespace

std::span<const FeatureInfo> feature_table() { return features; }

}  // namespace cbit::isa
