// Where the key bits sit in a page-table entry or bus address, and which key they select for whom.
//
// KeyLayout takes addresses apart; KeyView adds who is looking: on one machine the same C-bit selects the
// SME key for the host and the guest's key for a SEV guest.
#pragma once

#include <cstdint>
#include <utility>

#include "base/assert.hpp"
#include "base/ids.hpp"
#include "cbit/addr.hpp"

namespace cbit::mem {

// The value of the key bits, normalised: 0 is "shared / not encrypted" whatever the polarity of the bit, 1 is
// "encrypted" on AMD and TDX, a KeyID on MKTME.
using KeySelector = std::uint16_t;

class KeyLayout {
 public:
  // No key bits at all.
  static constexpr KeyLayout none() { return KeyLayout{0, 0, false}; }
  // AMD SME and SEV: bit set = encrypted. APM vol. 2, 7.10 and 15.34. 32 <= c_bit <= 51.
  static constexpr KeyLayout amd(unsigned c_bit) { return KeyLayout{c_bit, 1, false}; }
  // Intel TDX: bit set = shared; the polarity is the inverse of AMD's.
  static constexpr KeyLayout tdx(unsigned shared_bit) { return KeyLayout{shared_bit, 1, true}; }
  // Intel MKTME: a KeyID field of `bits` bits at the top of the physical address.
  static constexpr KeyLayout mktme(unsigned lowest_bit, unsigned bits) {
    return KeyLayout{lowest_bit, bits, false};
  }

  [[nodiscard]] constexpr std::pair<PhysAddr, KeySelector> split(PtePhys p) const {
    return {PhysAddr{p.value() & ~mask()}, selector(p.value())};
  }
  [[nodiscard]] constexpr std::pair<PhysAddr, KeySelector> split(DmaAddr d) const {
    return {PhysAddr{d.value() & ~mask()}, selector(d.value())};
  }
  [[nodiscard]] constexpr PtePhys join(PhysAddr p, KeySelector s) const {
    return PtePhys{p.value() | field(s)};
  }
  [[nodiscard]] constexpr DmaAddr join_dma(PhysAddr p, KeySelector s) const {
    return DmaAddr{p.value() | field(s)};
  }

  // All key bits; 0 when there are none. Linux's sme_me_mask on AMD.
  [[nodiscard]] constexpr std::uint64_t mask() const { return bit_mask(bits_) << shift_; }
  [[nodiscard]] constexpr unsigned lowest_bit() const { return shift_; }
  [[nodiscard]] constexpr unsigned bits() const { return bits_; }

 private:
  constexpr KeyLayout(unsigned shift, unsigned bits, bool inverted)
      : shift_{shift}, bits_{bits}, inverted_{inverted} {}

  [[nodiscard]] constexpr KeySelector selector(std::uint64_t value) const {
    const auto raw = static_cast<KeySelector>((value & mask()) >> shift_);
    return inverted_ ? static_cast<KeySelector>(raw ^ 1) : raw;
  }
  [[nodiscard]] constexpr std::uint64_t field(KeySelector s) const {
    const std::uint64_t raw = inverted_ ? s ^ 1u : s;
    return (raw << shift_) & mask();
  }

  unsigned shift_;
  unsigned bits_;
  bool inverted_;
};

static_assert(KeyLayout::amd(47).join(PhysAddr{0x1000}, 1) == PtePhys{0x8000'0000'1000});
static_assert(KeyLayout::tdx(47).join(PhysAddr{0x1000}, 1) == PtePhys{0x1000});
static_assert(KeyLayout::tdx(47).split(PtePhys{0x8000'0000'1000}).second == 0);
static_assert(KeyLayout::mktme(46, 6).split(PtePhys{5ull << 46 | 0x2000}).second == 5);

// The keys that the selectors of one context (a host, or a guest with its ASID) stand for.
struct KeyView {
  KeyLayout layout = KeyLayout::none();
  KeyId shared_key =
      no_key;  // selector 0; the host's SME key where host SME and a guest are modelled together
  KeyId encrypted_key = no_key;  // selector 1 on AMD and TDX
  bool selector_is_key = false;  // MKTME: the KeyID is the index into the key table
  bool walks_private = false;    // SEV and TDX guests: table walks and fetches ignore the bit (APM 15.34.5)
  bool page_decides = false;     // PEF: whether memory is shared is the page's state, not its mapping's

  [[nodiscard]] constexpr KeyId key(KeySelector s) const {
    if (selector_is_key) return s;
    return s != 0 ? encrypted_key : shared_key;
  }
  [[nodiscard]] constexpr std::pair<PhysAddr, KeyId> resolve(PtePhys p) const {
    const auto [phys, s] = layout.split(p);
    return {phys, key(s)};
  }
};

}  // namespace cbit::mem
