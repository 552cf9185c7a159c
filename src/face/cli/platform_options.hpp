// The options that describe a machine and its kernel, shared by the commands that build one.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "testbed/testbed.hpp"

namespace cbit::cli {

[[nodiscard]] OrError<testbed::TestbedConfig> testbed_config(const Arguments& arguments);

// The words of a table, for OptionSpec::choices.
template <class T, std::size_t n>
[[nodiscard]] constexpr std::array<std::string_view, n> choices_of(const Word<T> (&words)[n]) {
  std::array<std::string_view, n> choices;
  for (std::size_t i = 0; i < n; ++i) choices[i] = words[i].word;
  return choices;
}

inline constexpr auto platform_choices = choices_of(platform_words);
inline constexpr auto kernel_choices = choices_of(kernel_version_words);
inline constexpr auto iommu_choices = choices_of(iommu_mode_words);
inline constexpr auto cache_choices = choices_of(mem::cache_model_words);
inline constexpr auto cipher_choices = choices_of(crypt::cipher_mode_words);
inline constexpr std::string_view level_choices[] = {"4", "5"};

inline constexpr OptionSpec platform_option{"--platform", "P", "What encrypts memory", "plain",
                                            platform_choices};
inline constexpr OptionSpec cbit_option{
    "--cbit", "N", "Position of the encryption bit (TDX: of the shared bit), 32 to 51", "47"};
inline constexpr OptionSpec memory_option{"--memory", "SIZE", "RAM of the machine, 16M to 1T", "4G"};
inline constexpr OptionSpec cpus_option{"--cpus", "N",
                                        "CPUs, 1 to 256; they decide the areas of the bounce pool", "1"};
// The version that decides as a release of Linux does; empty: the word is no release.
[[nodiscard]] std::string_view version_of_release(std::string_view word);
inline constexpr OptionSpec kernel_option{
    "--kernel-version",
    "V",
    "Linux to behave like: 6.1.192, 6.6.87, 6.10.0, 6.12.117, 6.19.10, 7.2.13, 7.3.4; "
    "next is 7.3.4 with posted patches",
    "6.1",
    kernel_choices,
    false,
    FileUse::none,
    version_of_release};
static_assert(std::ranges::all_of(kernel_version_baselines, [](const Word<KernelVersion>& baseline) {
  return kernel_option.help.find(baseline.word) != std::string_view::npos;
}));
inline constexpr OptionSpec iommu_option{"--iommu", "MODE", "IOMMU and type of its default domain", "none",
                                         iommu_choices};
inline constexpr Word<bool> iommu_strict_words[] = {{"0", false}, {"1", true}};
inline constexpr auto iommu_strict_choices = choices_of(iommu_strict_words);
inline constexpr OptionSpec iommu_strict_option{
    "--iommu-strict", "N",
    "The kernel's iommu.strict= parameter: whether an unmap invalidates the IOTLB at once", "0 on x86",
    iommu_strict_choices};
inline constexpr OptionSpec migration_control_option{
    "--migration-control", "",
    "The hypervisor offers KVM_FEATURE_MIGRATION_CONTROL: a SEV guest tells it of each conversion", ""};
inline constexpr OptionSpec swiotlb_option{
    "--swiotlb", "SPEC", "The kernel's swiotlb= parameter: [SLOTS][,AREAS][,force|noforce][,track_hiwater]",
    ""};
inline constexpr OptionSpec swiotlb_dynamic_option{
    "--swiotlb-dynamic", "", "Let the pool grow (CONFIG_SWIOTLB_DYNAMIC, 6.6 and later)", ""};
inline constexpr OptionSpec cache_option{
    "--cache", "MODEL",
    "Aliases of one address in the CPU caches: coherent (SME_COHERENT), report "
    "missing flushes, or let them bite",
    "coherent", cache_choices};
inline constexpr OptionSpec cipher_option{"--cipher", "MODE", "Mode of the memory encryption engine", "xex",
                                          cipher_choices};
inline constexpr OptionSpec levels_option{"--paging-levels", "N", "Levels of the page tables", "4",
                                          level_choices};
inline constexpr OptionSpec seed_option{"--seed", "N", "Seed of keys and tweak constants", "1"};

}  // namespace cbit::cli
