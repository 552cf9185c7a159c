// The platforms that cbit models.
#pragma once

#include <cstdint>
#include <string_view>

namespace cbit {

enum class Platform : std::uint8_t { plain, sme, sev, sev_es, sev_snp, tdx };

inline constexpr Platform platforms[] = {Platform::plain,  Platform::sme,     Platform::sev,
                                         Platform::sev_es, Platform::sev_snp, Platform::tdx};

[[nodiscard]] constexpr std::string_view to_string(Platform platform) {
  switch (platform) {
    case Platform::plain: return "plain";
    case Platform::sme: return "sme";
    case Platform::sev: return "sev";
    case Platform::sev_es: return "sev-es";
    case Platform::sev_snp: return "sev-snp";
    case Platform::tdx: return "tdx";
  }
  return "?";
}

// A guest's memory is encrypted with a key that devices and host do not have.
[[nodiscard]] constexpr bool is_guest(Platform p) { return p != Platform::plain && p != Platform::sme; }
[[nodiscard]] constexpr bool is_encrypted(Platform p) { return p != Platform::plain; }

}  // namespace cbit
