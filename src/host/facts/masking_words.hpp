// What words and numbers look like that tell nothing about whose they are. For masking.hpp.
#pragma once

#include <cstddef>
#include <string_view>

namespace cbit::facts {

inline constexpr std::string_view masked_word = "<masked>";

[[nodiscard]] bool is_decimal_digit(char c);
[[nodiscard]] bool is_hex_digit(char c);
[[nodiscard]] bool is_letter(char c);

// Decimal digits, at most so many.
[[nodiscard]] bool is_decimal(std::string_view text, std::size_t digits_max);
// Hexadecimal digits, at most so many.
[[nodiscard]] bool is_hex(std::string_view text, std::size_t digits_max);
// "0x" and hexadecimal digits, at most so many.
[[nodiscard]] bool is_0x(std::string_view text, std::size_t digits_max);
// A number with a unit of bytes: "64M", "512MB", "2GiB".
[[nodiscard]] bool is_size(std::string_view text);
// "0000:41:00.0", "41:00.0".
[[nodiscard]] bool is_pci_address(std::string_view text);
// A letter, then letters, digits, '_' and '-', at most so many characters, with at most three digits in a
// row.
[[nodiscard]] bool is_plain_name(std::string_view text, std::size_t characters_max);

// One of Linux's drivers that do DMA. A name that is not may be somebody's own.
[[nodiscard]] bool is_linux_driver(std::string_view name);

// Calls visit(piece) for what lies between the separators; false as soon as that is.
template <class Visit>
bool all_pieces(std::string_view text, std::string_view separators, Visit visit) {
  while (true) {
    const std::size_t end = text.find_first_of(separators);
    if (!visit(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace cbit::facts
