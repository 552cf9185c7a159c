#include "dev/display/bochs_display.hpp"

#include <algorithm>

namespace cbit::dev {
namespace {

namespace bochs = spec::bochs_display;

constexpr std::uint64_t dispi_end = bochs::dispi + 2 * bochs::registers;
constexpr std::uint64_t extended_end = bochs::extended + bochs::extended_bytes;

enum class Part : std::uint8_t { dispi, extended, nothing, refused };

bool overlaps(std::uint64_t offset, std::size_t bytes, std::uint64_t begin, std::uint64_t end) {
  return offset < end && offset + bytes > begin;
}

Part part_of(std::uint64_t offset, std::size_t bytes) {
  if (overlaps(offset, bytes, bochs::dispi, dispi_end)) {
    const bool fits = (bytes == 2 || bytes == 4) && offset % bytes == 0;
    return fits ? Part::dispi : Part::refused;
  }
  if (overlaps(offset, bytes, bochs::extended, extended_end))
    return bytes == 4 && offset % 4 == 0 ? Part::extended : Part::refused;
  return Part::nothing;
}

unsigned index_of(std::uint64_t offset) { return static_cast<unsigned>((offset - bochs::dispi) / 2); }

// Five or six bits as eight, so that all ones stay all ones.
std::uint8_t widened(unsigned value, unsigned bits) {
  return static_cast<std::uint8_t>(value << (8 - bits) | value >> (2 * bits - 8));
}

}  // namespace

std::uint16_t BochsDisplay::get(unsigned index) const {
  if (index == bochs::index::id) return bochs::id5;
  if (index == bochs::index::video_memory_64k) return static_cast<std::uint16_t>(vram_.size() / (64 << 10));
  return index < dispi_.size() ? dispi_[index] : std::uint16_t{0};
}

std::uint32_t BochsDisplay::get_extended(std::uint64_t offset) const {
  if (offset == bochs::extended_size) return bochs::extended_bytes;
  return big_endian_ ? bochs::big_endian : bochs::little_endian;
}

Result<void> BochsDisplay::read(std::uint64_t offset, ByteSpan to) {
  switch (part_of(offset, to.size())) {
    case Part::refused: return fault(FaultKind::device_protocol, offset);
    case Part::nothing: std::ranges::fill(to, std::byte{0}); return {};
    case Part::extended: store(to, 0, get_extended(offset)); return {};
    case Part::dispi: break;
  }
  for (std::size_t at = 0; at < to.size(); at += 2) store(to, at, get(index_of(offset + at)));
  return {};
}

Result<void> BochsDisplay::write(std::uint64_t offset, ConstByteSpan from) {
  switch (part_of(offset, from.size())) {
    case Part::refused: return fault(FaultKind::device_protocol, offset, true);
    case Part::nothing: return {};
    case Part::extended: {
      if (offset != bochs::extended_byte_order) return {};
      const auto order = load<std::uint32_t>(from, 0);
      if (order == bochs::big_endian) big_endian_ = true;
      if (order == bochs::little_endian) big_endian_ = false;
      return {};
    }
    case Part::dispi: break;
  }
  for (std::size_t at = 0; at < from.size(); at += 2)
    if (const unsigned index = index_of(offset + at); index < dispi_.size())
      dispi_[index] = load<std::uint16_t>(from, at);
  return {};
}

std::optional<BochsDisplay::Mode> BochsDisplay::mode() const {
  if ((get(bochs::index::enable) & bochs::enabled) == 0) return std::nullopt;
  const std::uint16_t depth = get(bochs::index::bpp);
  if (depth != 16 && depth != 32) return std::nullopt;
  Mode mode{.width = get(bochs::index::xres), .height = get(bochs::index::yres), .pixel_bytes = depth / 8u};
  if (mode.width < bochs::resolution_min || mode.height < bochs::resolution_min) return std::nullopt;
  mode.stride = std::max<std::uint64_t>(get(bochs::index::virt_width), mode.width) * mode.pixel_bytes;
  mode.offset = get(bochs::index::x_offset) * mode.pixel_bytes + get(bochs::index::y_offset) * mode.stride;
  if (mode.offset + mode.stride * mode.height > vram_.size()) return std::nullopt;
  return mode;
}

std::array<std::uint8_t, 3> BochsDisplay::color(ConstByteSpan pixel) const {
  const auto byte = [pixel](std::size_t at) { return std::to_integer<std::uint8_t>(pixel[at]); };
  if (pixel.size() == 2) {  // the order of the processor, which is ours
    const unsigned value = load<std::uint16_t>(pixel, 0);
    return {widened(value >> 11, 5), widened(value >> 5 & 0x3f, 6), widened(value & 0x1f, 5)};
  }
  if (big_endian_) return {byte(1), byte(2), byte(3)};
  return {byte(2), byte(1), byte(0)};
}

std::optional<Picture> BochsDisplay::picture() const {
  const auto mode = this->mode();
  if (!mode) return std::nullopt;
  Picture picture{.width = mode->width, .height = mode->height, .rgb = {}};
  picture.rgb.reserve(std::size_t{3} * mode->width * mode->height);
  const ConstByteSpan memory = vram_.data();
  for (std::uint32_t y = 0; y < mode->height; ++y) {
    const ConstByteSpan row =
        memory.subspan(mode->offset + y * mode->stride, mode->width * mode->pixel_bytes);
    for (std::uint32_t x = 0; x < mode->width; ++x)
      for (const std::uint8_t part : color(row.subspan(x * mode->pixel_bytes, mode->pixel_bytes)))
        picture.rgb.push_back(std::byte{part});
  }
  return picture;
}

void BochsDisplay::reset() {
  dispi_ = {};
  big_endian_ = false;
}

}  // namespace cbit::dev
