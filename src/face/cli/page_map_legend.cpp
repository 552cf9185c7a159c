#include "cli/page_map_legend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::cli {
namespace {

// Rows from the top; the highest of five bits is the leftmost dot.
struct Glyph {
  char character;
  std::array<std::uint8_t, 7> rows;
};
constexpr std::size_t glyph_width = 5, glyph_height = 7;
constexpr Glyph glyphs[] = {
    {'a', {0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f}}, {'b', {0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x1e}},
    {'c', {0x00, 0x00, 0x0f, 0x10, 0x10, 0x10, 0x0f}}, {'d', {0x01, 0x01, 0x0f, 0x11, 0x11, 0x11, 0x0f}},
    {'e', {0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e}}, {'f', {0x06, 0x08, 0x1e, 0x08, 0x08, 0x08, 0x08}},
    {'h', {0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x11}}, {'i', {0x04, 0x00, 0x0c, 0x04, 0x04, 0x04, 0x0e}},
    {'l', {0x0c, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}}, {'m', {0x00, 0x00, 0x1a, 0x15, 0x15, 0x15, 0x15}},
    {'n', {0x00, 0x00, 0x1e, 0x11, 0x11, 0x11, 0x11}}, {'o', {0x00, 0x00, 0x0e, 0x11, 0x11, 0x11, 0x0e}},
    {'p', {0x00, 0x00, 0x1e, 0x11, 0x1e, 0x10, 0x10}}, {'q', {0x00, 0x00, 0x0f, 0x11, 0x0f, 0x01, 0x01}},
    {'r', {0x00, 0x00, 0x16, 0x18, 0x10, 0x10, 0x10}}, {'s', {0x00, 0x00, 0x0f, 0x10, 0x0e, 0x01, 0x1e}},
    {'t', {0x08, 0x08, 0x1e, 0x08, 0x08, 0x08, 0x06}}, {'u', {0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x0f}},
    {'w', {0x00, 0x00, 0x11, 0x11, 0x15, 0x15, 0x0a}}, {'x', {0x00, 0x00, 0x11, 0x0a, 0x04, 0x0a, 0x11}},
    {'z', {0x00, 0x00, 0x1f, 0x02, 0x04, 0x08, 0x1f}}, {'B', {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e}},
    {'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}}, {'M', {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}},
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}}, {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}}, {'3', {0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}}, {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x0e, 0x10, 0x10, 0x1e, 0x11, 0x11, 0x0e}}, {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {',', {0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08}}, {' ', {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00}},
};

constexpr std::size_t dot = 2;  // pixels
constexpr std::size_t letter_advance = (glyph_width + 1) * dot, line_height = (glyph_height + 3) * dot;
constexpr std::size_t margin = 8, swatch = glyph_height * dot;

class Legend {
 public:
  explicit Legend(std::size_t width) : width_{width} {}

  void entry(watch::PageLooks looks) {
    const std::string_view word = to_string(looks);
    place(swatch + margin + word.size() * letter_advance);
    square(static_cast<std::uint8_t>(looks));
    text(word);
  }
  void remark(std::string_view words) {
    place(words.size() * letter_advance);
    text(words);
  }
  std::vector<std::vector<std::uint8_t>> take() && {
    grow(y_ + line_height + margin);
    return std::move(rows_);
  }

 private:
  void grow(std::size_t height) {
    rows_.resize(std::max(rows_.size(), height), std::vector<std::uint8_t>(width_, colour_paper));
  }
  void fill(std::size_t x, std::size_t y, std::size_t edge, std::uint8_t colour) {
    for (std::size_t row = y; row < y + edge; ++row)
      for (std::size_t column = x; column < std::min(x + edge, width_); ++column) rows_[row][column] = colour;
  }
  // In this line or the next.
  void place(std::size_t width) {
    if (x_ != margin && x_ + width + margin > width_) {
      x_ = margin;
      y_ += line_height;
    }
    grow(y_ + line_height);
  }
  void square(std::uint8_t colour) {
    fill(x_, y_, swatch, colour);
    x_ += swatch + margin;
  }
  void text(std::string_view words) {
    for (const char c : words) {
      const auto* const glyph = std::ranges::find(glyphs, c, &Glyph::character);
      CBIT_ASSERT(glyph != std::end(glyphs));
      for (std::size_t row = 0; row < glyph_height; ++row)
        for (std::size_t column = 0; column < glyph_width; ++column)
          if ((glyph->rows[row] >> (glyph_width - 1 - column) & 1) != 0)
            fill(x_ + column * dot, y_ + row * dot, dot, colour_ink);
      x_ += letter_advance;
    }
    x_ += margin;
  }

  std::size_t width_, x_ = margin, y_ = margin;
  std::vector<std::vector<std::uint8_t>> rows_;
};

}  // namespace

Colour colour_of(watch::PageLooks looks) {
  // Okabe and Ito's palette, which the colour-blind can tell apart: blues for what the host cannot read, warm
  // colours for what it can.
  constexpr Colour colours[] = {{0x00, 0x72, 0xb2}, {0x56, 0xb4, 0xe9}, {0xd5, 0x5e, 0x00},
                                {0xe6, 0x9f, 0x00}, {0xf0, 0xe4, 0x42}, {0x00, 0x00, 0x00},
                                {0x60, 0x60, 0x60}, {0xcc, 0x79, 0xa7}};
  static_assert(std::size(colours) == watch::page_looks_count);
  return colours[static_cast<std::size_t>(looks)];
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::uint64_t mib = 1 << 20;
  return bytes < mib ? fmt::format("{} KiB", bytes >> 10) : fmt::format("{} MiB", bytes / mib);
}

std::vector<std::vector<std::uint8_t>> draw_legend(std::size_t width, std::uint64_t row_bytes) {
  Legend legend{width};
  for (std::size_t i = 0; i < watch::page_looks_count; ++i) legend.entry(static_cast<watch::PageLooks>(i));
  legend.remark(fmt::format("a square is {}, a row {}", size_text(page_size), size_text(row_bytes)));
  return std::move(legend).take();
}

}  // namespace cbit::cli
