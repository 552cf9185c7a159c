// I/O page-table entries, and the part of a device table entry that points to them.
// AMD I/O Virtualization Technology (IOMMU) Specification, 48882, 2.2.2.1 and 2.2.3; levels are numbered as
// there: level 1 maps 4 KiB pages, and a table of mode n starts at level n.
#pragma once

#include <bit>
#include <cstdint>

#include "base/reg.hpp"
#include "cbit/addr.hpp"

namespace cbit::iommu {

// Next Level is 0 in a leaf of its level's natural size, 7 in a leaf whose address field encodes the size,
// and else the level of the table that the entry points to. All bits but PR are ignored while PR is 0.
struct IoPte : Register<IoPte, std::uint64_t> {
  using Iw = Field<62, 62, bool>;
  using Ir = Field<61, 61, bool>;
  using Fc = Field<60, 60, bool>;  // leaf: the request snoops caches
  using U = Field<59, 59, bool>;   // leaf: copied into answers to ATS requests
  using NextLevel = Field<11, 9, unsigned>;
  using Pr = Field<0, 0, bool>;

  static constexpr std::uint64_t address_mask = bit_mask(52) & ~bit_mask(12);
  static constexpr std::uint64_t reserved_in_leaf = bit_mask(59) & ~bit_mask(52);       // 58:52
  static constexpr std::uint64_t reserved_in_directory = bit_mask(61) & ~bit_mask(52);  // 60:52

  // Bits 51:12, key bits included.
  [[nodiscard]] constexpr PtePhys target() const { return PtePhys{raw & address_mask}; }
  [[nodiscard]] constexpr bool is_leaf() const { return get<NextLevel>() == 0 || get<NextLevel>() == 7; }
  [[nodiscard]] constexpr bool has_reserved_bits() const {
    return (raw & (is_leaf() ? reserved_in_leaf : reserved_in_directory)) != 0;
  }
};

static_assert(IoPte{{0x6000'8000'0000'1401}}.get<IoPte::NextLevel>() == 2);
static_assert(IoPte{{0x6000'8000'0000'1401}}.target() == PtePhys{0x8000'0000'1000});

// First quadword of a device table entry. Mode 0: no page table, IR and IW alone decide.
struct IoDte : Register<IoDte, std::uint64_t> {
  using Iw = Field<62, 62, bool>;
  using Ir = Field<61, 61, bool>;
  using Mode = Field<11, 9, unsigned>;
  using Tv = Field<1, 1, bool>;
  using V = Field<0, 0, bool>;

  // Bits 51:12: the host page table root, key bits included.
  [[nodiscard]] constexpr PtePhys root() const { return PtePhys{raw & IoPte::address_mask}; }
};

inline constexpr unsigned io_levels_max = 6;
inline constexpr std::uint64_t io_entries_per_table = 512;

// Address bits below an entry of this level, the bytes that it covers, and its place in its table.
[[nodiscard]] constexpr unsigned io_shift(unsigned level) { return 12 + 9 * (level - 1); }
[[nodiscard]] constexpr std::uint64_t io_span(unsigned level) { return std::uint64_t{1} << io_shift(level); }
[[nodiscard]] constexpr std::uint64_t io_index(DmaAddr at, unsigned level) {
  return (at.value() >> io_shift(level)) % io_entries_per_table;
}
// The last address that a table of this mode translates; mode 6 covers all 64 bits.
[[nodiscard]] constexpr std::uint64_t io_last_address(unsigned mode) { return bit_mask(12 + 9 * mode); }

// The level of a leaf that maps `bytes` (a power of two of at least 4 KiB), and how often its entry is
// repeated.
[[nodiscard]] constexpr unsigned io_leaf_level(std::uint64_t bytes) {
  return 1 + static_cast<unsigned>(std::countr_zero(bytes) - 12) / 9;
}
[[nodiscard]] constexpr std::uint64_t io_leaf_entries(std::uint64_t bytes) {
  return bytes / io_span(io_leaf_level(bytes));
}

// Sizes between the natural ones: the lowest clear bit of the address, bit n, stands for 2^(n+1) bytes.
[[nodiscard]] constexpr std::uint64_t io_encode_size(PhysAddr first, std::uint64_t bytes) {
  return first.value() | ((bytes / 2 - 1) & IoPte::address_mask);
}
// 0 when the code is none that an entry of this level may carry.
[[nodiscard]] constexpr std::uint64_t io_decode_size(PhysAddr address, unsigned level) {
  const int lowest_clear = std::countr_one(address.value() | bit_mask(12));
  const std::uint64_t bytes = std::uint64_t{2} << lowest_clear;
  return bytes > io_span(level) && bytes >> 9 < io_span(level) ? bytes : 0;
}

static_assert(io_leaf_level(64 << 10) == 1 && io_leaf_entries(64 << 10) == 16);
static_assert(io_leaf_level(2 << 20) == 2 && io_leaf_entries(2 << 20) == 1);
static_assert(io_encode_size(PhysAddr{0x10000}, 0x10000) == 0x17000);
static_assert(io_decode_size(PhysAddr{0x17000}, 1) == 0x10000);
static_assert(io_decode_size(PhysAddr{0x17000}, 2) == 0);

}  // namespace cbit::iommu
