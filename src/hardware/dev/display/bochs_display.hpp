// A display adapter with a frame buffer and nothing else: video memory, and registers that say which part
// of it is shown. It does no DMA and has no interrupt. QEMU's bochs-display, hw/display/bochs-display.c,
// without EDID (its edid=off).
//
// Video memory is the device's: no key applies to it, so that whoever has the machine sees the picture, and
// a guest reaches it through mappings without the encryption bit alone.
//
// Registers of two bytes (spec::bochs_display::index) are read and written one or two at a time, those of
// four bytes one at a time; elsewhere reads are zeros and writes are lost, as those to read-only registers
// are. What software writes is kept as it is, and judged when somebody looks: a mode that cannot be shown
// shows nothing.
//
// Faults: device_protocol for an access to registers of another size or alignment. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.hpp"
#include "bus/system_bus.hpp"
#include "dev/display/display.hpp"
#include "spec/bochs_display.hpp"

namespace cbit::dev {

struct BochsDisplayOptions {
  // A power of two, spec::bochs_display::vram_bytes_min to vram_bytes_max.
  std::uint64_t vram_bytes = spec::bochs_display::vram_bytes_default;
};

class BochsDisplay final : public bus::MmioRegion, public Display {
 public:
  explicit BochsDisplay(const BochsDisplayOptions& options) : vram_{options.vram_bytes} {}

  // The registers, behind BAR 2.
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  // Video memory, behind BAR 0.
  [[nodiscard]] bus::RamBar& vram() { return vram_; }

  [[nodiscard]] std::optional<Picture> picture() const override;

  // Registers become as they were; video memory stays.
  void reset();

 private:
  // Where a picture lies in video memory, and how.
  struct Mode {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint64_t pixel_bytes = 0;
    std::uint64_t stride = 0;  // bytes
    std::uint64_t offset = 0;
  };
  // nullopt: it is off, or does not fit.
  [[nodiscard]] std::optional<Mode> mode() const;
  [[nodiscard]] std::uint16_t get(unsigned index) const;
  [[nodiscard]] std::uint32_t get_extended(std::uint64_t offset) const;
  // Red, green and blue of a pixel of a mode.
  [[nodiscard]] std::array<std::uint8_t, 3> color(ConstByteSpan pixel) const;

  bus::RamBar vram_;
  std::array<std::uint16_t, spec::bochs_display::writable_registers> dispi_{};
  bool big_endian_ = false;
};

}  // namespace cbit::dev
