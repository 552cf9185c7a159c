// Words and numbers as people write them, for options, files and listings.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cbit/words.hpp"

namespace cbit {

// "4096", "0x1000"; "4K", "8G": powers of 1024. nullopt: not a number, or beyond 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cbit
