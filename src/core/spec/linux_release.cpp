#include "spec/linux_release.hpp"

#include <utility>

#include "base/text.hpp"

namespace cbit::spec {

std::optional<KernelRelease> parse_release(std::string_view text) {
  text = trimmed(text);
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view rest = text.substr(dot + 1);
  const auto major = decimal(text.substr(0, dot));
  const auto minor = decimal(rest.substr(0, rest.find_first_not_of("0123456789")));
  if (!major || !minor || *major > 1000 || *minor > 1000) return std::nullopt;
  return KernelRelease{static_cast<unsigned>(*major), static_cast<unsigned>(*minor)};
}

KernelVersion nearest_version(const std::optional<KernelRelease>& release) {
  constexpr std::pair<KernelRelease, KernelVersion> firsts[] = {
      {{6, 6}, KernelVersion::v6_6},   {{6, 10}, KernelVersion::v6_10}, {{6, 12}, KernelVersion::v6_12},
      {{6, 18}, KernelVersion::v6_19}, {{7, 1}, KernelVersion::v7_2},   {{7, 3}, KernelVersion::v7_3},
  };
  KernelVersion nearest = KernelVersion::v6_1;
  for (const auto& [first, version] : firsts)
    if (release && first <= *release) nearest = version;
  return nearest;
}

}  // namespace cbit::spec
