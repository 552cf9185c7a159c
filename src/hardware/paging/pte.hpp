// x86-64 page-table entries and the shape of the tables. APM vol. 2, 5.3-5.4; SDM vol. 3, 4.5.
//
// A table's level is the number of levels below it: 0 for a page table (PT), 1 PD, 2 PDPT, 3 PML4, 4 PML5. A
// leaf at level n maps a page of PageLevel n.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/reg.hpp"
#include "mem/key_layout.hpp"

namespace cbit::paging {

enum class PageLevel : std::uint8_t { size_4k, size_2m, size_1g };

inline constexpr std::uint64_t entries_per_table = 512;
inline constexpr unsigned highest_leaf_level = 2;

// What one entry of a table at `level` covers, and how many such spans lie below an address.
[[nodiscard]] constexpr std::uint64_t span_of_level(unsigned level) { return page_size << (9 * level); }
[[nodiscard]] constexpr std::uint64_t span_number(VirtAddr at, unsigned level) {
  return at.value() >> (12 + 9 * level);
}
[[nodiscard]] constexpr std::uint64_t level_bytes(PageLevel level) {
  return span_of_level(static_cast<unsigned>(level));
}
[[nodiscard]] constexpr std::uint64_t table_index(VirtAddr at, unsigned level) {
  return span_number(at, level) % entries_per_table;
}

// Bits 63:47 (63:56 with five levels) are equal.
[[nodiscard]] constexpr bool is_canonical(VirtAddr at, unsigned levels) {
  const unsigned unused = 64 - (12 + 9 * levels);
  const auto extended = static_cast<std::int64_t>(at.value() << unused) >> unused;
  return static_cast<std::uint64_t>(extended) == at.value();
}
static_assert(is_canonical(VirtAddr{0xffff'8000'0000'0000}, 4) && !is_canonical(VirtAddr{1ull << 47}, 4));
static_assert(is_canonical(VirtAddr{1ull << 47}, 5) && !is_canonical(VirtAddr{1ull << 56}, 5));

struct Pte : Register<Pte, std::uint64_t> {
  using NoExecute = Field<63, 63, bool>;
  using LargePat = Field<12, 12, bool>;  // leaf PDPTE and PDE: the page's PAT bit
  using Global = Field<8, 8, bool>;
  using PageSize = Field<7, 7, bool>;  // PDPTE and PDE: this is a leaf
  using SmallPat = Field<7, 7, bool>;  // PTE: the page's PAT bit
  using Dirty = Field<6, 6, bool>;
  using Accessed = Field<5, 5, bool>;
  using CacheDisable = Field<4, 4, bool>;
  using WriteThrough = Field<3, 3, bool>;
  using User = Field<2, 2, bool>;
  using Writable = Field<1, 1, bool>;
  using Present = Field<0, 0, bool>;

  static constexpr std::uint64_t address_mask = bit_mask(52) & ~bit_mask(12);

  [[nodiscard]] constexpr bool present() const { return get<Present>(); }
  [[nodiscard]] constexpr bool is_leaf(unsigned level) const { return level == 0 || get<PageSize>(); }

  // Bits 51:12, key bits included: the table that the entry points to, or its 4 KiB page.
  [[nodiscard]] constexpr PtePhys target() const { return PtePhys{raw & address_mask}; }
  // The page of a leaf, key bits included. Below the page's size lie the PAT bit and reserved bits.
  [[nodiscard]] constexpr PtePhys page(PageLevel level) const {
    return PtePhys{raw & address_mask & ~(level_bytes(level) - 1)};
  }
};

static_assert(Pte{{0x83}}.get<Pte::PageSize>() && Pte{{0x83}}.get<Pte::Writable>());
static_assert(Pte{{0x4000'1083}}.page(PageLevel::size_1g) == PtePhys{0x4000'0000});

// How Linux caches a page: PWT selects WC, PCD selects UC- (arch/x86/mm/pat/memtype.c).
enum class PageCaching : std::uint8_t { write_back, write_combined, uncached };

[[nodiscard]] constexpr std::string_view to_string(PageCaching caching) {
  switch (caching) {
    case PageCaching::write_back: return "write-back";
    case PageCaching::write_combined: return "write-combined";
    case PageCaching::uncached: return "uncached";
  }
  return "?";
}

struct PageFlags {
  bool writable = true;
  bool user = false;
  bool executable = false;
  bool global = false;  // survives MOV CR3

  friend constexpr bool operator==(const PageFlags&, const PageFlags&) = default;
};

enum class PagingFormat : std::uint8_t {
  long_mode,
  pae,     // 32-bit addresses, entries of 8 bytes: APM vol. 2, 5.2.3
  legacy,  // 32-bit addresses, entries of 4 bytes: APM vol. 2, 5.2.2
};

// How one context translates: number of levels, key bits, width of physical addresses.
struct PagingConfig {
  unsigned levels = 4;      // 4 or 5 (CR4.LA57); 3 with PAE
  unsigned phys_bits = 52;  // address bits at or above this, other than key bits, are reserved
  mem::KeyView view;
  PagingFormat format = PagingFormat::long_mode;
  bool no_execute = true;   // EFER.NXE; else bit 63 is reserved
  bool large_pages = true;  // CR4.PSE, which counts in the legacy format only
};

// The table that CR3 or an entry points to, and the key that the walker reads it with: an SME host follows
// the pointer's C-bit, a SEV or TDX guest's walks are private whatever it says. APM vol. 2, 7.10.3
// and 15.34.5.
[[nodiscard]] constexpr std::pair<PhysAddr, KeyId> locate_table(const mem::KeyView& view, PtePhys pointer) {
  const auto [phys, selector] = view.layout.split(pointer);
  return {phys, view.key(view.walks_private ? mem::KeySelector{1} : selector)};
}

}  // namespace cbit::paging
