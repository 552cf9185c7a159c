// Memory type range registers: APM vol. 2, 7.7.
#pragma once

#include <cstdint>

namespace cbit::spec::mtrr {

enum class Type : std::uint8_t { uncacheable = 0, write_protect = 5, write_back = 6 };

// Base and mask of the variable range `n`; eight types each of the fixed ranges.
constexpr std::uint32_t msr_base(unsigned n) { return 0x200 + 2 * n; }
constexpr std::uint32_t msr_mask(unsigned n) { return 0x201 + 2 * n; }
inline constexpr std::uint32_t msr_fixed_64k_00000 = 0x250;
inline constexpr std::uint32_t msr_fixed_16k_80000 = 0x258;
inline constexpr std::uint32_t msr_fixed_16k_a0000 = 0x259;
inline constexpr std::uint32_t msr_fixed_4k_c0000 = 0x268;  // and seven more, up to 0xfffff
inline constexpr std::uint32_t msr_default_type = 0x2ff;

inline constexpr std::uint64_t mask_valid = 1u << 11;
inline constexpr std::uint64_t default_enable = 1u << 11;
inline constexpr std::uint64_t default_enable_fixed = 1u << 10;

// The same type for the eight ranges of a fixed register.
constexpr std::uint64_t eight(Type type) { return 0x0101'0101'0101'0101 * static_cast<std::uint64_t>(type); }

}  // namespace cbit::spec::mtrr
