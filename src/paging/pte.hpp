// x86-64 page-table entries. APM vol. 2, 5.3-5.4; SDM vol. 3, 4.5.
#pragma once

#include <cstdint>

#include "base/reg.hpp"
#include "mem/key_layout.hpp"

namespace cbit {

struct Pte : Register<Pte, std::uint64_t> {
  using NoExecute = Field<63, 63, bool>;
  using Global = Field<8, 8, bool>;
  using PageSize = Field<7, 7, bool>;  // PDPTE and PDE: this is a leaf
  using Dirty = Field<6, 6, bool>;
  using Accessed = Field<5, 5, bool>;
  using CacheDisable = Field<4, 4, bool>;
  using WriteThrough = Field<3, 3, bool>;
  using User = Field<2, 2, bool>;
  using Writable = Field<1, 1, bool>;
  using Present = Field<0, 0, bool>;

  static constexpr std::uint64_t address_mask = bit_mask(52) & ~bit_mask(12);
  // Bits 51:12, key bits included. In a large leaf bits below the page's size are PAT and reserved.
  [[nodiscard]] constexpr PtePhys target() const { return PtePhys{raw & address_mask}; }
};

static_assert(Pte{{0x83}}.get<Pte::PageSize>() && Pte{{0x83}}.get<Pte::Writable>());

enum class PageLevel : std::uint8_t { size_4k, size_2m, size_1g };

[[nodiscard]] constexpr std::uint64_t bytes_of(PageLevel level) {
  return page_size << (9 * static_cast<unsigned>(level));
}

struct PageFlags {
  bool writable = true;
  bool user = false;
  bool executable = false;
};

// How one context translates: number of levels, key bits, width of physical addresses.
struct PagingConfig {
  unsigned levels = 4;      // 4 or 5 (CR4.LA57)
  unsigned phys_bits = 52;  // address bits at or above this, other than key bits, are reserved
  KeyView view;
};

}  // namespace cbit
