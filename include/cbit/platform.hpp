// The platforms that cbit models.
#pragma once

#include <cstdint>
#include <string_view>

#include "cbit/words.hpp"

namespace cbit {

// mktme: Intel's multi-key TME on bare metal. pef: a secure guest under POWER's Protected Execution Facility.
enum class Platform : std::uint8_t { plain, sme, sev, sev_es, sev_snp, tdx, mktme, pef };

inline constexpr Word<Platform> platform_words[] = {
    {"plain", Platform::plain},   {"sme", Platform::sme},         {"sev", Platform::sev},
    {"sev-es", Platform::sev_es}, {"sev-snp", Platform::sev_snp}, {"tdx", Platform::tdx},
    {"mktme", Platform::mktme},   {"pef", Platform::pef},
};
inline constexpr auto platforms = values_of(platform_words);

[[nodiscard]] constexpr std::string_view to_string(Platform platform) {
  return word_of(platform_words, platform);
}

// A guest's memory is encrypted with a key that devices and host do not have.
[[nodiscard]] constexpr bool is_guest(Platform platform) {
  switch (platform) {
    case Platform::sev:
    case Platform::sev_es:
    case Platform::sev_snp:
    case Platform::tdx:
    case Platform::pef: return true;
    case Platform::plain:
    case Platform::sme:
    case Platform::mktme: break;
  }
  return false;
}
// The kernel's own memory is encrypted. MKTME encrypts what a KeyID is asked for, and nothing else under one.
[[nodiscard]] constexpr bool is_encrypted(Platform platform) {
  return is_guest(platform) || platform == Platform::sme;
}

}  // namespace cbit
