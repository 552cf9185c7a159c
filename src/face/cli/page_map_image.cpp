#include "cli/page_map_image.hpp"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <ostream>
#include <vector>

#include "base/assert.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t row_pages = 512;
constexpr std::uint64_t row_bytes = row_pages * page_size;
constexpr std::uint64_t rows_max = 1'000'000;  // what libpng reads without being asked
constexpr std::uint8_t outside = watch::page_looks_count;

struct Strip {
  process::VirtRange range;
  std::uint64_t first_row = 0;

  [[nodiscard]] std::uint64_t rows() const {
    return (align_up(range.end.value(), row_bytes) - align_down(range.start.value(), row_bytes)) / row_bytes;
  }
  [[nodiscard]] std::uint64_t row_of(VirtAddr at) const {
    return first_row + at.value() / row_bytes - range.start.value() / row_bytes;
  }
};

std::vector<Strip> strips_of(std::span<const process::Segment> segments) {
  std::vector<Strip> strips;
  std::uint64_t row = 0;
  for (const process::Segment& segment : segments) {
    if (segment.mapping == nullptr) continue;
    strips.push_back({segment.range, row});
    row += strips.back().rows();
  }
  return strips;
}

std::string legend() {
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

Colour colour_of(watch::PageLooks looks) {
  // Okabe and Ito's palette, which the colour-blind can tell apart: blues for what the host cannot read, warm
  // colours for what it can.
  constexpr Colour colours[] = {{0x00, 0x72, 0xb2}, {0x56, 0xb4, 0xe9}, {0xd5, 0x5e, 0x00},
                                {0xe6, 0x9f, 0x00}, {0xf0, 0xe4, 0x42}, {0x00, 0x00, 0x00},
                                {0x60, 0x60, 0x60}, {0xcc, 0x79, 0xa7}};
  static_assert(std::size(colours) == watch::page_looks_count);
  return colours[static_cast<std::size_t>(looks)];
}

struct PageMapImage::State {
  os::OutputFile file;
  std::vector<Strip> strips;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::array<std::uint8_t, row_pages> pixels{};
  std::uint64_t row = 0;  // that `pixels` is
  std::size_t begun = 0;  // strips
  std::uint64_t height = 0;

  State(os::OutputFile opened, std::vector<Strip> parts) : file{std::move(opened)}, strips{std::move(parts)} {
    height = strips.back().first_row + strips.back().rows();
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, warn);
    CBIT_ASSERT(png != nullptr);
    info = png_create_info_struct(png);
    CBIT_ASSERT(info != nullptr);
    pixels.fill(outside);
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
  png_set_IHDR(png, info, static_cast<png_uint_32>(row_pages), static_cast<png_uint_32>(height), 8,
               PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  std::array<png_color, watch::page_looks_count + 1> palette{};
  for (std::size_t i = 0; i < watch::page_looks_count; ++i) {
    const Colour colour = colour_of(static_cast<watch::PageLooks>(i));
    palette[i] = {colour.red, colour.green, colour.blue};
  }
  png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  std::array<png_byte, watch::page_looks_count + 1> alpha{};
  alpha.fill(0xff);
  alpha[outside] = 0;
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
  set("Title", "cbit peek: one pixel is a page of 4096 bytes, one row 2 MiB");
  set("Legend", legend());
  set("Rows", row_table(strips));
}

void PageMapImage::State::write_rows_before(std::uint64_t next) {
  for (; row < next; ++row) {
    png_write_row(png, pixels.data());
    pixels.fill(outside);
  }
}

void PageMapImage::State::paint(const process::PagesSeen& seen) {
  const Strip& strip = strips[begun - 1];
  const VirtAddr end = seen.at + seen.pages * page_size;
  CBIT_ASSERT(seen.at >= strip.range.start && end <= strip.range.end);
  for (VirtAddr at = seen.at; at < end;) {
    write_rows_before(strip.row_of(at));
    const std::uint64_t column = at.page_number() % row_pages;
    const std::uint64_t count = std::min(row_pages - column, (end - at) / page_size);
    std::fill_n(pixels.begin() + static_cast<std::ptrdiff_t>(column), count,
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
  const std::uint64_t rows = strips.back().first_row + strips.back().rows();
  if (rows > rows_max)
    return usage_error(fmt::format("a map of {} rows of 2 MiB is too large", rows),
                       fmt::format("choose less with --range, up to {} rows", rows_max));
  os::OutputFile file = CBIT_TRY(os::OutputFile::create(path));
  PageMapImage image{std::make_unique<State>(std::move(file), std::move(strips))};
  image.state_->write_head();
  return image;
}

void PageMapImage::begin_segment() { ++state_->begun; }

void PageMapImage::add(const process::PagesSeen& seen) {
  CBIT_ASSERT(state_->begun != 0 && state_->begun <= state_->strips.size());
  state_->paint(seen);
}

OrError<void> PageMapImage::commit() {
  state_->write_rows_before(state_->height);
  png_write_end(state_->png, nullptr);
  return state_->file.commit();
}

}  // namespace cbit::cli
