#include "cli/page_map_image.hpp"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <ostream>
#include <vector>

#include "base/assert.hpp"
#include "cli/page_map_legend.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

// With the legend's lines, what libpng reads without being asked: a million.
constexpr std::uint64_t rows_max = 999'000;
constexpr std::uint64_t width_min = 512, row_pages_max = 4096;

}  // namespace

struct Strip {
  process::VirtRange range;
  std::uint64_t first_row = 0;
};

// A row is a power of two pages, and begins at a multiple of that; a page is a square of pixels.
struct Shape {
  std::uint64_t row_pages = 0;
  std::uint64_t rows = 0;

  [[nodiscard]] std::uint64_t row_bytes() const { return row_pages * page_size; }
  [[nodiscard]] std::uint64_t square() const { return std::max<std::uint64_t>(width_min / row_pages, 1); }
  [[nodiscard]] std::uint64_t width() const { return row_pages * square(); }
  [[nodiscard]] std::uint64_t rows_of(const process::VirtRange& range) const {
    return (align_up(range.end.value(), row_bytes()) - align_down(range.start.value(), row_bytes())) /
           row_bytes();
  }
  [[nodiscard]] std::uint64_t row_of(const Strip& strip, VirtAddr at) const {
    return strip.first_row + at.value() / row_bytes() - strip.range.start.value() / row_bytes();
  }
  // 1: four to three; more where it is farther from that.
  [[nodiscard]] double strangeness() const {
    const double ratio = 3.0 * static_cast<double>(row_pages) / (4.0 * static_cast<double>(rows));
    return std::max(ratio, 1 / ratio);
  }
};

namespace {

Shape shape_of(std::span<const Strip> strips) {
  Shape best;
  for (std::uint64_t row_pages = 4; row_pages <= row_pages_max; row_pages *= 2) {
    Shape shape{row_pages};
    for (const Strip& strip : strips) shape.rows += shape.rows_of(strip.range);
    if (best.rows == 0 || shape.strangeness() < best.strangeness()) best = shape;
  }
  return best;
}

// Of the segments that have a mapping.
std::vector<Strip> strips_of(std::span<const process::Segment> segments) {
  std::vector<Strip> strips;
  for (const process::Segment& segment : segments)
    if (segment.mapping != nullptr) strips.push_back({segment.range});
  return strips;
}

void place(std::span<Strip> strips, const Shape& shape) {
  std::uint64_t row = 0;
  for (Strip& strip : strips) {
    strip.first_row = row;
    row += shape.rows_of(strip.range);
  }
}

std::string legend_text() {
  std::string text;
  for (std::size_t i = 0; i < watch::page_looks_count; ++i) {
    const auto looks = static_cast<watch::PageLooks>(i);
    const Colour colour = colour_of(looks);
    text += fmt::format("{} #{:02x}{:02x}{:02x}\n", to_string(looks), colour.red, colour.green, colour.blue);
  }
  return text;
}

std::string row_table(std::span<const Strip> strips) {
  std::string text;
  for (const Strip& strip : strips)
    text += fmt::format("row {}: {:x}-{:x}\n", strip.first_row, strip.range.start.value(),
                        strip.range.end.value());
  return text;
}

void write_to_stream(png_structp png, png_bytep data, std::size_t size) {
  auto& out = *static_cast<std::ostream*>(png_get_io_ptr(png));
  out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
}
void flush_nothing(png_structp) {}
// The stream keeps its failure until commit(); libpng has no other trouble with our input.
[[noreturn]] void fail(png_structp, png_const_charp message) {
  assertion_failed(message, __FILE_NAME__, __LINE__);
}
void warn(png_structp, png_const_charp) {}

}  // namespace

struct PageMapImage::State {
  os::OutputFile file;
  std::vector<Strip> strips;
  Shape shape;
  std::vector<std::vector<std::uint8_t>> legend;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<std::uint8_t> pixels;
  std::uint64_t row = 0;  // that `pixels` is
  std::size_t begun = 0;  // strips

  State(os::OutputFile opened, std::vector<Strip> parts, const Shape& chosen)
      : file{std::move(opened)},
        strips{std::move(parts)},
        shape{chosen},
        legend{draw_legend(chosen.width(), chosen.row_bytes())},
        pixels(chosen.width(), colour_outside) {
    place(strips, shape);
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, warn);
    CBIT_ASSERT(png != nullptr);
    info = png_create_info_struct(png);
    CBIT_ASSERT(info != nullptr);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { png_destroy_write_struct(&png, &info); }

  void write_head();
  void set_text();
  void write_rows_before(std::uint64_t next);
  void paint(const process::PagesSeen& seen);
};

void PageMapImage::State::write_head() {
  png_set_write_fn(png, &file.stream(), write_to_stream, flush_nothing);
  png_set_IHDR(png, info, static_cast<png_uint_32>(shape.width()),
               static_cast<png_uint_32>(shape.rows * shape.square() + legend.size()), 8,
               PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::array<png_color, colours_count> palette{};
  palette[colour_paper] = {0xff, 0xff, 0xff};
  palette[colour_ink] = {0x20, 0x20, 0x20};
  for (std::size_t i = 0; i < watch::page_looks_count; ++i) {
    const Colour colour = colour_of(static_cast<watch::PageLooks>(i));
    palette[i] = {colour.red, colour.green, colour.blue};
  }
  png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  std::array<png_byte, colours_count> alpha{};
  alpha.fill(0xff);
  alpha[colour_outside] = 0;
  png_set_tRNS(png, info, alpha.data(), static_cast<int>(alpha.size()), nullptr);
  set_text();
  png_write_info(png, info);
}

void PageMapImage::State::set_text() {
  const auto set = [&](const char* key, std::string value) {
    std::string keyword{key};
    png_text text{.compression = PNG_TEXT_COMPRESSION_NONE, .key = keyword.data(), .text = value.data()};
    text.text_length = value.size();
    png_set_text(png, info, &text, 1);
  };
  set("Title", fmt::format("cbit peek: a square of {} pixels is a page of {} bytes, a row of them {}",
                           shape.square(), page_size, size_text(shape.row_bytes())));
  set("Legend", legend_text());
  set("Rows", row_table(strips));
}

void PageMapImage::State::write_rows_before(std::uint64_t next) {
  for (; row < next; ++row) {
    for (std::uint64_t line = 0; line < shape.square(); ++line) png_write_row(png, pixels.data());
    std::ranges::fill(pixels, colour_outside);
  }
}

void PageMapImage::State::paint(const process::PagesSeen& seen) {
  const Strip& strip = strips[begun - 1];
  const VirtAddr end = seen.at + seen.pages * page_size;
  CBIT_ASSERT(seen.at >= strip.range.start && end <= strip.range.end);
  for (VirtAddr at = seen.at; at < end;) {
    write_rows_before(shape.row_of(strip, at));
    const std::uint64_t column = at.page_number() % shape.row_pages;
    const std::uint64_t count = std::min(shape.row_pages - column, (end - at) / page_size);
    std::fill_n(pixels.begin() + static_cast<std::ptrdiff_t>(column * shape.square()), count * shape.square(),
                static_cast<std::uint8_t>(seen.look.looks));
    at += count * page_size;
  }
}

PageMapImage::PageMapImage(std::unique_ptr<State> state) : state_{std::move(state)} {}
PageMapImage::PageMapImage(PageMapImage&&) noexcept = default;
PageMapImage::~PageMapImage() = default;

OrError<PageMapImage> PageMapImage::create(const std::string& path,
                                           std::span<const process::Segment> segments) {
  std::vector<Strip> strips = strips_of(segments);
  if (strips.empty())
    return usage_error("nothing is mapped there, so there is no map to draw", "see --ranges");
  const Shape shape = shape_of(strips);
  if (shape.rows > rows_max)
    return usage_error(
        fmt::format("a map of {} rows of {} is too large", shape.rows, size_text(shape.row_bytes())),
        fmt::format("choose less with --range, up to {} rows", rows_max));
  os::OutputFile file = CBIT_TRY(os::OutputFile::create(path));
  PageMapImage image{std::make_unique<State>(std::move(file), std::move(strips), shape)};
  image.state_->write_head();
  return image;
}

void PageMapImage::begin_segment() { ++state_->begun; }

void PageMapImage::add(const process::PagesSeen& seen) {
  CBIT_ASSERT(state_->begun != 0 && state_->begun <= state_->strips.size());
  state_->paint(seen);
}

OrError<void> PageMapImage::commit() {
  state_->write_rows_before(state_->shape.rows);
  for (const std::vector<std::uint8_t>& line : state_->legend) png_write_row(state_->png, line.data());
  png_write_end(state_->png, nullptr);
  return state_->file.commit();
}

}  // namespace cbit::cli
