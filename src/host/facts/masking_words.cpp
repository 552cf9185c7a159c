#include "facts/masking_words.hpp"

#include <algorithm>

namespace cbit::facts {

bool is_decimal_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) { return is_decimal_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_decimal(std::string_view text, std::size_t digits_max) {
  return !text.empty() && text.size() <= digits_max && std::ranges::all_of(text, is_decimal_digit);
}

bool is_hex(std::string_view text, std::size_t digits_max) {
  return !text.empty() && text.size() <= digits_max && std::ranges::all_of(text, is_hex_digit);
}

bool is_0x(std::string_view text, std::size_t digits_max) {
  return (text.starts_with("0x") || text.starts_with("0X")) && is_hex(text.substr(2), digits_max);
}

bool is_size(std::string_view text) {
  constexpr std::size_t digits_max = 10;
  constexpr std::string_view units[] = {"K",  "M",  "G",  "T",  "k",   "m",   "g",   "t",  "KB",
                                        "MB", "GB", "TB", "kB", "KiB", "MiB", "GiB", "TiB"};
  const auto digits =
      static_cast<std::size_t>(std::ranges::find_if_not(text, is_decimal_digit) - text.begin());
  return digits != 0 && digits <= digits_max &&
         std::ranges::find(units, text.substr(digits)) != std::end(units);
}

bool is_pci_address(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  if (dot == std::string_view::npos || dot + 2 != text.size() || text[dot + 1] < '0' || text[dot + 1] > '7')
    return false;
  std::string_view rest = text.substr(0, dot);
  const auto two_digits = [](std::string_view part) { return part.size() == 2 && is_hex(part, 2); };
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || !two_digits(rest.substr(colon + 1))) return false;
  rest = rest.substr(0, colon);
  if (two_digits(rest)) return true;
  const std::size_t domain = rest.rfind(':');
  // Hyper-V and VMD number their domains with more than four digits.
  return domain != std::string_view::npos && domain >= 4 && is_hex(rest.substr(0, domain), 8) &&
         two_digits(rest.substr(domain + 1));
}

bool is_plain_name(std::string_view text, std::size_t characters_max) {
  if (text.empty() || text.size() > characters_max || !is_letter(text.front())) return false;
  std::size_t digits = 0;
  return std::ranges::all_of(text, [&](char c) {
    digits = is_decimal_digit(c) ? digits + 1 : 0;
    return digits <= 3 && (is_decimal_digit(c) || is_letter(c) || c == '_' || c == '-');
  });
}

}  // namespace cbit::facts
