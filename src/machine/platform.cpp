#include "machine/platform.hpp"

namespace cbit {

std::string_view to_string(Platform platform) {
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

std::optional<Platform> platform_from(std::string_view name) {
  for (const Platform platform : platforms)
    if (name == to_string(platform)) return platform;
  return std::nullopt;
}

}  // namespace cbit
