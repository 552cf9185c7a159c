#include "spec/linux_release.hpp"

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
  if (!release || *release < KernelRelease{6, 6}) return KernelVersion::v6_1;
  return *release < KernelRelease{6, 10} ? KernelVersion::v6_6 : KernelVersion::v6_10;
}

}  // namespace cbit::spec
