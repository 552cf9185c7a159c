// Which Linux the model kernel behaves like. Rules that differ between versions ask this and nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cbit {

enum class KernelVersion : std::uint8_t { v6_1, v6_6, v6_10 };

[[nodiscard]] constexpr std::string_view to_string(KernelVersion version) {
  switch (version) {
    case KernelVersion::v6_1: return "6.1";
    case KernelVersion::v6_6: return "6.6";
    case KernelVersion::v6_10: return "6.10";
  }
  return "?";
}

[[nodiscard]] constexpr std::optional<KernelVersion> kernel_version_from(std::string_view text) {
  for (const auto version : {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10})
    if (text == to_string(version)) return version;
  return std::nullopt;
}

}  // namespace cbit
