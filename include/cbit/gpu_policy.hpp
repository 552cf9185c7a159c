// How TTM decides whether the CPU's mappings of a graphics buffer carry the encryption bit.
#pragma once

#include <cstdint>
#include <string_view>

#include "cbit/words.hpp"

namespace cbit {

enum class TtmPolicy : std::uint8_t {
  before_fix,  // never decrypted (Linux before 6.8)
  fixed,       // TTM_TT_FLAG_DECRYPTED: use_dma_alloc and CC_ATTR_GUEST_MEM_ENCRYPT (6.8, Debian's 6.1.192)
  always_decrypted,  // hypothetical: ttm_io_prot() applies pgprot_decrypted() to everything
  ask_dma,  // hypothetical: the DMA layer tells the attribute of each allocation (dma_mmap_attrs() style)
};

inline constexpr Word<TtmPolicy> ttm_policy_words[] = {{"before-fix", TtmPolicy::before_fix},
                                                       {"fixed", TtmPolicy::fixed},
                                                       {"always-decrypted", TtmPolicy::always_decrypted},
                                                       {"ask-dma", TtmPolicy::ask_dma}};
inline constexpr auto ttm_policies = values_of(ttm_policy_words);

[[nodiscard]] constexpr std::string_view to_string(TtmPolicy policy) {
  return word_of(ttm_policy_words, policy);
}

// Where the contents of a buffer object live: TTM_PL_SYSTEM (pages that no GPU reaches), TTM_PL_TT (pages in
// the GPU's page table), TTM_PL_VRAM.
enum class TtmPlacement : std::uint8_t { system, tt, vram };

inline constexpr Word<TtmPlacement> ttm_placement_words[] = {
    {"system", TtmPlacement::system}, {"tt", TtmPlacement::tt}, {"vram", TtmPlacement::vram}};

[[nodiscard]] constexpr std::string_view to_string(TtmPlacement placement) {
  return word_of(ttm_placement_words, placement);
}

}  // namespace cbit
