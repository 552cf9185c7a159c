// The platforms that cbit models, and what each means for keys, devices and protection.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "mem/key_layout.hpp"
#include "mem/memory.hpp"

namespace cbit {

enum class Platform : std::uint8_t { plain, sme, sev, sev_es, sev_snp, tdx };

inline constexpr Platform platforms[] = {Platform::plain,  Platform::sme,     Platform::sev,
                                         Platform::sev_es, Platform::sev_snp, Platform::tdx};

// "plain", "sme", "sev", "sev-es", "sev-snp", "tdx".
[[nodiscard]] std::string_view to_string(Platform platform);
[[nodiscard]] std::optional<Platform> platform_from(std::string_view name);

// A guest's memory is encrypted with a key that devices and host do not have.
[[nodiscard]] constexpr bool is_guest(Platform p) { return p != Platform::plain && p != Platform::sme; }
[[nodiscard]] constexpr bool is_encrypted(Platform p) { return p != Platform::plain; }

}  // namespace cbit
