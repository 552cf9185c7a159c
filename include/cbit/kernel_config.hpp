// Which Linux the model kernel behaves like, and how it uses an IOMMU.
#pragma once

#include <cstdint>
#include <string_view>

#include "cbit/words.hpp"

namespace cbit {

// Rules that differ between versions ask this and nothing else; versions are in order. Which releases decide
// like each: spec/linux_release.hpp. `next` is 7.3 with patches that are only posted, for devices that a
// guest has accepted.
enum class KernelVersion : std::uint8_t { v6_1, v6_6, v6_10, v6_12, v6_19, v7_2, v7_3, next };

inline constexpr Word<KernelVersion> kernel_version_words[] = {
    {"6.1", KernelVersion::v6_1},   {"6.6", KernelVersion::v6_6},   {"6.10", KernelVersion::v6_10},
    {"6.12", KernelVersion::v6_12}, {"6.19", KernelVersion::v6_19}, {"7.2", KernelVersion::v7_2},
    {"7.3", KernelVersion::v7_3},   {"next", KernelVersion::next}};

[[nodiscard]] constexpr std::string_view to_string(KernelVersion version) {
  return word_of(kernel_version_words, version);
}

// The release whose source a version is written by: fixes come to a series with its releases, so that "6.6"
// alone names no one kernel.
inline constexpr Word<KernelVersion> kernel_version_baselines[] = {
    {"6.1.192", KernelVersion::v6_1},  {"6.6.87", KernelVersion::v6_6},
    {"6.10.0", KernelVersion::v6_10},  {"6.12.117", KernelVersion::v6_12},
    {"6.19.10", KernelVersion::v6_19}, {"7.2.13", KernelVersion::v7_2},
    {"7.3.4", KernelVersion::v7_3},    {"7.3.4 with posted patches", KernelVersion::next}};

[[nodiscard]] constexpr std::string_view baseline_of(KernelVersion version) {
  return word_of(kernel_version_baselines, version);
}

// The type of the IOMMU's default domain; none: there is no IOMMU.
enum class IommuMode : std::uint8_t { none, passthrough, translated };

inline constexpr Word<IommuMode> iommu_mode_words[] = {{"none", IommuMode::none},
                                                       {"passthrough", IommuMode::passthrough},
                                                       {"translated", IommuMode::translated}};

[[nodiscard]] constexpr std::string_view to_string(IommuMode mode) { return word_of(iommu_mode_words, mode); }

}  // namespace cbit
