// Sizes of memory by name.
#pragma once

#include <cstdint>

namespace cbit {

inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;
inline constexpr std::uint64_t gib = std::uint64_t{1} << 30;
inline constexpr std::uint64_t tib = std::uint64_t{1} << 40;

}  // namespace cbit
