// What stands below the picture of cli/page_map_image.hpp: each colour with its word, and the scale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "watch/page_look.hpp"

namespace cbit::cli {

struct Colour {
  std::uint8_t red, green, blue;
};
[[nodiscard]] Colour colour_of(watch::PageLooks looks);

// Indices of the palette, behind those of the looks.
inline constexpr std::uint8_t colour_outside = watch::page_looks_count;  // transparent
inline constexpr std::uint8_t colour_paper = colour_outside + 1;
inline constexpr std::uint8_t colour_ink = colour_paper + 1;
inline constexpr std::size_t colours_count = colour_ink + 1;

// "4 KiB", of a power of two.
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// Rows of `width` palette indices each; at least 128 of them.
[[nodiscard]] std::vector<std::vector<std::uint8_t>> draw_legend(std::size_t width, std::uint64_t row_bytes);

}  // namespace cbit::cli
