// The display adapter of Bochs' VBE extension, as QEMU's bochs-display has it: registers behind BAR 2,
// video memory behind BAR 0. QEMU, include/hw/display/bochs-vbe.h and hw/display/bochs-display.c; names are
// those of Linux 6.1, drivers/gpu/drm/tiny/bochs.c.
#pragma once

#include <cstdint>

namespace cbit::spec::bochs_display {

inline constexpr std::uint16_t vendor = 0x1234;
inline constexpr std::uint16_t device = 0x1111;
inline constexpr std::uint8_t revision = 2;  // there are QEMU's extended registers
inline constexpr std::uint16_t subsystem_vendor = 0x1af4;
inline constexpr std::uint16_t subsystem = 0x1100;

inline constexpr std::uint64_t vram_bytes_min = 4ull << 20;
inline constexpr std::uint64_t vram_bytes_max = 256ull << 20;
inline constexpr std::uint64_t vram_bytes_default = 16ull << 20;

// BAR 2.
inline constexpr std::uint64_t register_bytes = 0x1000;
inline constexpr std::uint64_t dispi = 0x500;     // 2 bytes each, by index
inline constexpr std::uint64_t extended = 0x600;  // 4 bytes each

namespace index {
inline constexpr unsigned id = 0x0;  // read-only
inline constexpr unsigned xres = 0x1;
inline constexpr unsigned yres = 0x2;
inline constexpr unsigned bpp = 0x3;
inline constexpr unsigned enable = 0x4;
inline constexpr unsigned bank = 0x5;
inline constexpr unsigned virt_width = 0x6;
inline constexpr unsigned virt_height = 0x7;
inline constexpr unsigned x_offset = 0x8;
inline constexpr unsigned y_offset = 0x9;
inline constexpr unsigned video_memory_64k = 0xa;  // read-only
}  // namespace index
inline constexpr unsigned writable_registers = 0xa;
inline constexpr unsigned registers = 0xb;

inline constexpr std::uint16_t id5 = 0xb0c5;
inline constexpr std::uint16_t enabled = 0x01;  // in index::enable

inline constexpr std::uint64_t extended_size = extended;  // read-only: bytes of these registers
inline constexpr std::uint64_t extended_byte_order = extended + 4;
inline constexpr std::uint32_t extended_bytes = 8;
inline constexpr std::uint32_t little_endian = 0x1e1e'1e1e;
inline constexpr std::uint32_t big_endian = 0xbebe'bebe;

inline constexpr unsigned resolution_min = 64;  // smaller pictures are not shown

}  // namespace cbit::spec::bochs_display
