// The four address spaces of the machine, as four types that do not convert into each other.
//
// Address + bytes = address, address - address = bytes; nothing else. The encryption bit (AMD's C-bit,
// TDX's shared bit, an MKTME KeyID) exists only in PtePhys and DmaAddr; `mem/key_layout.hpp` is the
// one place that takes it apart.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace cbit {

inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint64_t cache_line_size = 64;

template <class Tag>
class Addr {
 public:
  constexpr Addr() = default;
  explicit constexpr Addr(std::uint64_t value) : value_{value} {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  [[nodiscard]] constexpr Addr page() const { return Addr{value_ & ~(page_size - 1)}; }
  [[nodiscard]] constexpr std::uint64_t page_offset() const { return value_ & (page_size - 1); }
  [[nodiscard]] constexpr std::uint64_t page_number() const { return value_ / page_size; }
  [[nodiscard]] constexpr bool is_aligned(std::uint64_t bytes) const { return value_ % bytes == 0; }

  friend constexpr auto operator<=>(Addr, Addr) = default;
  friend constexpr Addr operator+(Addr a, std::uint64_t bytes) { return Addr{a.value_ + bytes}; }
  friend constexpr Addr operator-(Addr a, std::uint64_t bytes) { return Addr{a.value_ - bytes}; }
  friend constexpr std::uint64_t operator-(Addr a, Addr b) { return a.value_ - b.value_; }
  constexpr Addr& operator+=(std::uint64_t bytes) {
    value_ += bytes;
    return *this;
  }

 private:
  std::uint64_t value_ = 0;
};

using VirtAddr = Addr<struct VirtTag>;  // what an instruction names
using PhysAddr = Addr<struct PhysTag>;  // what DRAM decodes: no C-bit, no KeyID
using PtePhys = Addr<struct PteTag>;    // what a page-table entry holds: key bits included
using DmaAddr = Addr<struct DmaTag>;    // what a device puts on the bus: key bits or an IOVA

static_assert(!std::convertible_to<PtePhys, PhysAddr>);
static_assert(sizeof(PhysAddr) == 8);

// Linux's DMA_MAPPING_ERROR (include/linux/dma-mapping.h).
inline constexpr DmaAddr dma_mapping_error{~std::uint64_t{0}};

[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
[[nodiscard]] constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) {
  return value / alignment * alignment;
}

// Linux's DMA_BIT_MASK(n): the n low bits set; 0 <= n <= 64.
[[nodiscard]] constexpr std::uint64_t bit_mask(unsigned bits) {
  return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

}  // namespace cbit

template <class Tag>
struct std::hash<cbit::Addr<Tag>> {
  std::size_t operator()(cbit::Addr<Tag> a) const { return std::hash<std::uint64_t>{}(a.value()); }
};
