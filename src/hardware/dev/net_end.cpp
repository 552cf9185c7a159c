#include "dev/net_end.hpp"

#include "base/text.hpp"

namespace cbit::dev {

std::optional<MacAddress> parse_mac(std::string_view text) {
  constexpr std::size_t digits = 2;
  MacAddress mac{};
  if (text.size() != mac.size() * (digits + 1) - 1) return std::nullopt;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const std::size_t at = i * (digits + 1);
    const std::string_view byte = text.substr(at, digits);
    const bool is_hex = byte.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
    if (!is_hex || (at != 0 && text[at - 1] != ':')) return std::nullopt;
    mac[i] = static_cast<std::uint8_t>(*hexadecimal(byte));
  }
  constexpr std::uint8_t group = 1;
  if ((mac[0] & group) != 0 || mac == MacAddress{}) return std::nullopt;
  return mac;
}

}  // namespace cbit::dev
