// The Linux/x86 boot protocol: the header of a bzImage, and boot_params, which the kernel is given.
// Documentation/x86/boot.rst and zero-page.rst, arch/x86/include/uapi/asm/bootparam.h of Linux 6.1.
//
// All fields are little-endian and packed: take them by value, a reference to one may not be aligned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec {

inline constexpr std::uint32_t linux_header_magic = 0x5372'6448;  // "HdrS", at 0x202
inline constexpr std::uint16_t linux_boot_flag = 0xaa55;          // at 0x1fe
inline constexpr std::size_t linux_setup_header_at = 0x1f1;       // in the file and in boot_params
inline constexpr std::size_t linux_sector_bytes = 512;
inline constexpr unsigned linux_setup_sects_default = 4;      // where setup_sects is 0
inline constexpr std::uint64_t linux_paragraph_bytes = 16;    // the unit of syssize
inline constexpr std::uint64_t linux_entry_64 = 0x200;        // from the start of the protected-mode code
inline constexpr std::uint8_t linux_loader_undefined = 0xff;  // type_of_loader without an assigned number
inline constexpr std::uint16_t linux_boot_cs = 0x10;          // __BOOT_CS
inline constexpr std::uint16_t linux_boot_ds = 0x18;          // __BOOT_DS
inline constexpr std::uint16_t linux_vid_mode_normal = 0xffff;

// Boot protocol versions in which fields appeared.
inline constexpr std::uint16_t linux_protocol_2_06 = 0x0206;  // cmdline_size
inline constexpr std::uint16_t linux_protocol_2_12 = 0x020c;  // xloadflags: the 64-bit entry
inline constexpr std::uint16_t linux_protocol_2_15 = 0x020f;  // kernel_info

struct LinuxLoadFlags : Register<LinuxLoadFlags, std::uint8_t> {
  using CanUseHeap = Field<7, 7, bool>;
  using KeepSegments = Field<6, 6, bool>;
  using Quiet = Field<5, 5, bool>;
  using Kaslr = Field<1, 1, bool>;  // the kernel's own
  using LoadedHigh = Field<0, 0, bool>;
};

struct LinuxXLoadFlags : Register<LinuxXLoadFlags, std::uint16_t> {
  using MemEncryption = Field<7, 7, bool>;  // Linux 6.12: the stub found mem_encrypt=on
  using FiveLevelEnabled = Field<6, 6, bool>;
  using FiveLevel = Field<5, 5, bool>;
  using EfiKexec = Field<4, 4, bool>;
  using EfiHandover64 = Field<3, 3, bool>;
  using EfiHandover32 = Field<2, 2, bool>;
  using CanBeLoadedAbove4G = Field<1, 1, bool>;
  using Kernel64 = Field<0, 0, bool>;
};

// "Address Range Types" of the ACPI specification, chapter 15; E820_TYPE_* in Linux.
enum class E820Type : std::uint32_t { ram = 1, reserved = 2, acpi = 3, nvs = 4, unusable = 5 };

enum class LinuxSetupType : std::uint32_t {
  e820_ext = 1,
  dtb = 2,
  pci = 3,
  efi = 4,
  cc_blob = 7,
  ima = 8,
  rng_seed = 9,
};

#pragma pack(push, 1)

struct LinuxSetupHeader {
  std::uint8_t setup_sects = 0;
  std::uint16_t root_flags = 0;
  std::uint32_t syssize = 0;
  std::uint16_t ram_size = 0;
  std::uint16_t vid_mode = 0;
  std::uint16_t root_dev = 0;
  std::uint16_t boot_flag = 0;
  std::uint16_t jump = 0;  // the high byte: how far the header reaches beyond 0x202
  std::uint32_t header = 0;
  std::uint16_t version = 0;
  std::uint32_t realmode_swtch = 0;
  std::uint16_t start_sys_seg = 0;
  std::uint16_t kernel_version = 0;  // where the text is, less 0x200
  std::uint8_t type_of_loader = 0;
  LinuxLoadFlags loadflags;
  std::uint16_t setup_move_size = 0;
  std::uint32_t code32_start = 0;
  std::uint32_t ramdisk_image = 0;
  std::uint32_t ramdisk_size = 0;
  std::uint32_t bootsect_kludge = 0;
  std::uint16_t heap_end_ptr = 0;
  std::uint8_t ext_loader_ver = 0;
  std::uint8_t ext_loader_type = 0;
  std::uint32_t cmd_line_ptr = 0;
  std::uint32_t initrd_addr_max = 0;
  std::uint32_t kernel_alignment = 0;
  std::uint8_t relocatable_kernel = 0;
  std::uint8_t min_alignment = 0;
  std::uint16_t xloadflags = 0;  // LinuxXLoadFlags, which would have to be aligned
  std::uint32_t cmdline_size = 0;
  std::uint32_t hardware_subarch = 0;
  std::uint64_t hardware_subarch_data = 0;
  std::uint32_t payload_offset = 0;
  std::uint32_t payload_length = 0;
  std::uint64_t setup_data = 0;
  std::uint64_t pref_address = 0;
  std::uint32_t init_size = 0;
  std::uint32_t handover_offset = 0;
  std::uint32_t kernel_info_offset = 0;
};
static_assert(offsetof(LinuxSetupHeader, boot_flag) + linux_setup_header_at == 0x1fe);
static_assert(offsetof(LinuxSetupHeader, header) + linux_setup_header_at == 0x202);
static_assert(offsetof(LinuxSetupHeader, cmd_line_ptr) + linux_setup_header_at == 0x228);
static_assert(offsetof(LinuxSetupHeader, xloadflags) + linux_setup_header_at == 0x236);
static_assert(offsetof(LinuxSetupHeader, pref_address) + linux_setup_header_at == 0x258);
static_assert(sizeof(LinuxSetupHeader) + linux_setup_header_at == 0x26c);

struct E820Entry {
  std::uint64_t addr = 0;
  std::uint64_t size = 0;
  E820Type type{};

  friend bool operator==(const E820Entry&, const E820Entry&) = default;
};
static_assert(sizeof(E820Entry) == 20);

// A node of the list that boot_params' setup_data begins; its data follow.
struct LinuxSetupData {
  std::uint64_t next = 0;
  LinuxSetupType type{};
  std::uint32_t len = 0;
};
static_assert(sizeof(LinuxSetupData) == 16);

struct LinuxBootParams {
  static constexpr std::size_t e820_entries_max = 128;

  std::array<std::byte, 0x70> screen_and_bios{};  // all zero: there is no screen
  std::uint64_t acpi_rsdp_addr = 0;
  std::array<std::byte, 0x48> obsolete{};
  std::uint32_t ext_ramdisk_image = 0;
  std::uint32_t ext_ramdisk_size = 0;
  std::uint32_t ext_cmd_line_ptr = 0;
  std::array<std::byte, 112> pad4{};
  std::uint32_t cc_blob_address = 0;
  std::array<std::byte, 0x80> edid_info{};
  std::array<std::byte, 0x20> efi_info{};
  std::uint32_t alt_mem_k = 0;
  std::uint32_t scratch = 0;
  std::uint8_t e820_entries = 0;
  std::array<std::byte, 6> edd_and_keyboard{};
  std::uint8_t sentinel = 0;  // not zero: whoever filled this in copied too much
  std::uint8_t pad6 = 0;
  LinuxSetupHeader hdr;
  std::array<std::byte, 0x290 - 0x26c> pad7{};
  std::array<std::byte, 0x40> edd_mbr_sig_buffer{};
  std::array<E820Entry, e820_entries_max> e820_table{};
  std::array<std::byte, 0x330> edd{};
};
static_assert(offsetof(LinuxBootParams, acpi_rsdp_addr) == 0x70);
static_assert(offsetof(LinuxBootParams, ext_ramdisk_image) == 0xc0);
static_assert(offsetof(LinuxBootParams, cc_blob_address) == 0x13c);
static_assert(offsetof(LinuxBootParams, efi_info) == 0x1c0);
static_assert(offsetof(LinuxBootParams, e820_entries) == 0x1e8);
static_assert(offsetof(LinuxBootParams, sentinel) == 0x1ef);
static_assert(offsetof(LinuxBootParams, hdr) == linux_setup_header_at);
static_assert(offsetof(LinuxBootParams, e820_table) == 0x2d0);
static_assert(sizeof(LinuxBootParams) == 4096);

#pragma pack(pop)

}  // namespace cbit::spec
