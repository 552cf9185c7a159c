// The platforms that cbit models.
#pragma once

#include <cstdint>
#include <string_view>

namespace cbit {

// mktme: Intel's multi-key TME on bare metal. pef: a secure guest under POWER's Protected Execution Facility.
enum class Platform : std::uint8_t { plain, sme, sev, sev_es, sev_snp, tdx, mktme, pef };

inline constexpr Platform platforms[] = {Platform::plain,   Platform::sme, Platform::sev,   Platform::sev_es,
                                         Platform::sev_snp, Platform::tdx, Platform::mktme, Platform::pef};

[[nodiscard]] constexpr std::string_view to_string(Platform platform) {
  switch (platform) {
    case Platform::plain: return "plain";
    case Platform::sme: return "sme";
    case Platform::sev: return "sev";
    case Platform::sev_es: return "sev-es";
    case Platform::sev_snp: return "sev-snp";
    case Platform::tdx: return "tdx";
    case Platform::mktme: return "mktme";
    case Platform::pef: return "pef";
  }
  return "?";
}

// A guest's memory is encrypted with a key that devices and host do not have.
[[nodiscard]] constexpr bool is_guest(Platform p) {
  return p != Platform::plain && p != Platform::sme && p != Platform::mktme;
}
// The kernel's own memory is encrypted. MKTME encrypts what a KeyID is asked for, and nothing else under one.
[[nodiscard]] constexpr bool is_encrypted(Platform p) { return p != Platform::plain && p != Platform::mktme; }

}  // namespace cbit
