// How TTM decides whether the CPU's mappings of a graphics buffer carry the encryption bit.
#pragma once

#include <cstdint>
#include <string_view>

namespace cbit {

enum class TtmPolicy : std::uint8_t {
  before_fix,  // never decrypted (Linux before 6.8)
  fixed,       // TTM_TT_FLAG_DECRYPTED: use_dma_alloc and CC_ATTR_GUEST_MEM_ENCRYPT (6.8, Debian's 6.1.192)
  always_decrypted,  // hypothetical: ttm_io_prot() applies pgprot_decrypted() to everything
  ask_dma,  // hypothetical: the DMA layer tells the attribute of each allocation (dma_mmap_attrs() style)
};

inline constexpr TtmPolicy ttm_policies[] = {TtmPolicy::before_fix, TtmPolicy::fixed,
                                             TtmPolicy::always_decrypted, TtmPolicy::ask_dma};

[[nodiscard]] constexpr std::string_view to_string(TtmPolicy policy) {
  switch (policy) {
    case TtmPolicy::before_fix: return "before-fix";
    case TtmPolicy::fixed: return "fixed";
    case TtmPolicy::always_decrypted: return "always-decrypted";
    case TtmPolicy::ask_dma: return "ask-dma";
  }
  return "?";
}

// Where the contents of a buffer object live: TTM_PL_SYSTEM (pages that no GPU reaches), TTM_PL_TT (pages in
// the GPU's page table), TTM_PL_VRAM.
enum class TtmPlacement : std::uint8_t { system, tt, vram };

[[nodiscard]] constexpr std::string_view to_string(TtmPlacement placement) {
  switch (placement) {
    case TtmPlacement::system: return "system";
    case TtmPlacement::tt: return "tt";
    case TtmPlacement::vram: return "vram";
  }
  return "?";
}

}  // namespace cbit
