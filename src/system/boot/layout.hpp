// Where the loader puts what it adds to an image. One home for the addresses in the first megabyte.
//
//   0000'0000  interrupt vectors, BIOS data area (zeros)      0001'0000  setup_data, at most 64 KiB
//   0000'1000  GDT                                            0002'0000  command line, at most 64 KiB
//   0000'2000  boot_params or hvm_start_info                  0009'f000  zeros: where an EBDA would be
//   0000'3000  page tables                                    000f'0000  RSDP, zeros, handlers
//   0000'9000  multiboot memory map and information
//
// ACPI's other tables are at the top of RAM below 4 GiB.
#pragma once

#include <cstdint>

#include "cbit/addr.hpp"

namespace cbit::boot::layout {

inline constexpr PhysAddr vectors{0x0};
inline constexpr PhysAddr gdt{0x1000};
inline constexpr PhysAddr boot_params{0x2000};
inline constexpr PhysAddr hvm_start_info{0x2000};
inline constexpr PhysAddr page_tables{0x3000};
inline constexpr std::uint64_t page_table_pages_max = 6;  // for 4 GiB in pages of 2 MiB
// Where QEMU has them, too (hw/i386/multiboot.c).
inline constexpr PhysAddr multiboot_map{0x9000};
inline constexpr std::uint64_t multiboot_info_offset = 0x500;  // from the map
inline constexpr PhysAddr setup_data{0x1'0000};
inline constexpr std::uint64_t setup_data_bytes_max = 0x1'0000;
inline constexpr PhysAddr command_line{0x2'0000};
inline constexpr std::uint64_t command_line_bytes_max = 0x1'0000;
inline constexpr PhysAddr ebda_page{0x9'f000};
inline constexpr PhysAddr low_ram_end{0x9'fc00};  // the last KiB is the EBDA's
inline constexpr PhysAddr bios{0xf'0000};         // a multiboot kernel looks for the RSDP here
inline constexpr PhysAddr high_memory{0x10'0000};

}  // namespace cbit::boot::layout
