// The words of options and lab files, and what they stand for. Each table is in the order in which help lists
// it.
#pragma once

#include <string_view>

#include "base/words.hpp"
#include "cbit/dma_types.hpp"
#include "cbit/gpu_policy.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"
#include "crypt/xex.hpp"
#include "kernel/dma/dma.hpp"

namespace cbit::testbed {

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
inline constexpr Word<mem::CacheModel> cache_model_words[] = {{"coherent", mem::CacheModel::coherent},
                                                              {"report", mem::CacheModel::report},
                                                              {"bite", mem::CacheModel::bite}};
inline constexpr Word<crypt::CipherMode> cipher_mode_words[] = {{"xex", crypt::CipherMode::xex},
                                                                {"xe", crypt::CipherMode::xe}};
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

inline constexpr Word<TtmPolicy> ttm_policy_words[] = {{"before-fix", TtmPolicy::before_fix},
                                                       {"fixed", TtmPolicy::fixed},
                                                       {"always-decrypted", TtmPolicy::always_decrypted},
                                                       {"ask-dma", TtmPolicy::ask_dma}};

// "-EIO".
[[nodiscard]] std::string_view errno_name(kernel::Errno code);
// A system call's, which may also be ENOKEY.
[[nodiscard]] std::string_view errno_name(int error);

}  // namespace cbit::testbed
