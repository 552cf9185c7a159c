// The words of options and lab files, and what they stand for. Each table is in the order in which help lists
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "cbit/dma_types.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"
#include "crypt/xex.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit {

template <class T>
struct Word {
  std::string_view word;
  T value;
};

inline constexpr Word<Platform> platform_words[] = {
    {"plain", Platform::plain},   {"sme", Platform::sme},         {"sev", Platform::sev},
    {"sev-es", Platform::sev_es}, {"sev-snp", Platform::sev_snp}, {"tdx", Platform::tdx},
    {"mktme", Platform::mktme},   {"pef", Platform::pef},
};
inline constexpr Word<KernelVersion> kernel_version_words[] = {{"6.1", KernelVersion::v6_1},
                                                               {"6.6", KernelVersion::v6_6},
                                                               {"6.10", KernelVersion::v6_10},
                                                               {"next", KernelVersion::next}};
inline constexpr Word<IommuMode> iommu_mode_words[] = {{"none", IommuMode::none},
                                                       {"passthrough", IommuMode::passthrough},
                                                       {"translated", IommuMode::translated}};
// Whether the IOMMU is a virtio-iommu, or the platform's own.
inline constexpr Word<bool> iommu_kind_words[] = {{"platform", false}, {"virtio", true}};
inline constexpr Word<CacheModel> cache_model_words[] = {
    {"coherent", CacheModel::coherent}, {"report", CacheModel::report}, {"bite", CacheModel::bite}};
inline constexpr Word<CipherMode> cipher_mode_words[] = {{"xex", CipherMode::xex}, {"xe", CipherMode::xe}};
inline constexpr Word<DmaDirection> dma_direction_words[] = {{"to-device", DmaDirection::to_device},
                                                             {"from-device", DmaDirection::from_device},
                                                             {"bidirectional", DmaDirection::bidirectional}};
inline constexpr Word<DmaAttrs> dma_attr_words[] = {
    {"skip-cpu-sync", dma_attr::skip_cpu_sync},
    {"no-warn", dma_attr::no_warn},
    {"weak-ordering", dma_attr::weak_ordering},
    {"write-combine", dma_attr::write_combine},
    {"force-contiguous", dma_attr::force_contiguous},
    {"alloc-single-pages", dma_attr::alloc_single_pages},
    {"no-kernel-mapping", dma_attr::no_kernel_mapping},
    {"privileged", dma_attr::privileged},
    {"mmio", dma_attr::mmio},
    {"require-coherent", dma_attr::require_coherent},
    {"cc-shared", dma_attr::cc_shared},
};

template <class T, std::size_t n>
[[nodiscard]] constexpr std::optional<T> find_word(const Word<T> (&words)[n], std::string_view name) {
  for (const Word<T>& entry : words)
    if (entry.word == name) return entry.value;
  return std::nullopt;
}

template <class T, std::size_t n>
[[nodiscard]] constexpr std::string_view word_of(const Word<T> (&words)[n], T value) {
  for (const Word<T>& entry : words)
    if (entry.value == value) return entry.word;
  return "?";
}

// "-EIO".
[[nodiscard]] std::string_view errno_name(Errno code);

// "4096", "0x1000"; "4K", "8G": powers of 1024. nullopt: not a number, or beyond 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cbit
