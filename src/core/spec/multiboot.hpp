// Multiboot, version 1: the header that a kernel carries, and the information that it is given.
// Multiboot Specification 0.6.96, chapter 3.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec {

inline constexpr std::uint32_t multiboot_header_magic = 0x1bad'b002;
inline constexpr std::uint32_t multiboot_loader_magic = 0x2bad'b002;  // EAX at entry
inline constexpr std::size_t multiboot_search_bytes = 8192;           // the header lies whole in these
inline constexpr std::size_t multiboot_header_alignment = 4;
inline constexpr std::uint32_t multiboot_boot_device_disk = 0x8000'ffff;  // first disk, no partition

struct MultibootHeaderFlags : Register<MultibootHeaderFlags, std::uint32_t> {
  using HasAddresses = Field<16, 16, bool>;  // the "a.out kludge"
  using MustUnderstand = Field<15, 3>;       // what is not defined among bits 0 to 15
  using VideoMode = Field<2, 2, bool>;
  using MemoryInfo = Field<1, 1, bool>;
  using PageAlignModules = Field<0, 0, bool>;
};

struct MultibootHeader {
  std::uint32_t magic = multiboot_header_magic;
  MultibootHeaderFlags flags;
  std::uint32_t checksum = 0;  // the sum of the three is 0
  // Only with HasAddresses.
  std::uint32_t header_addr = 0;
  std::uint32_t load_addr = 0;
  std::uint32_t load_end_addr = 0;  // 0: the whole file
  std::uint32_t bss_end_addr = 0;   // 0: there is no bss
  std::uint32_t entry_addr = 0;
  // Only with VideoMode.
  std::uint32_t mode_type = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t depth = 0;
};
static_assert(sizeof(MultibootHeader) == 48);

struct MultibootInfo {
  struct Flags : Register<Flags, std::uint32_t> {
    using BootLoaderName = Field<9, 9, bool>;
    using MemoryMap = Field<6, 6, bool>;
    using Modules = Field<3, 3, bool>;
    using CommandLine = Field<2, 2, bool>;
    using BootDevice = Field<1, 1, bool>;
    using Memory = Field<0, 0, bool>;
  };
  Flags flags;
  std::uint32_t mem_lower = 0;  // KiB from 0
  std::uint32_t mem_upper = 0;  // KiB from 1 MiB to the first hole
  std::uint32_t boot_device = 0;
  std::uint32_t cmdline = 0;
  std::uint32_t mods_count = 0;
  std::uint32_t mods_addr = 0;
  std::uint32_t syms[4] = {};
  std::uint32_t mmap_length = 0;
  std::uint32_t mmap_addr = 0;
  std::uint32_t drives_length = 0;
  std::uint32_t drives_addr = 0;
  std::uint32_t config_table = 0;
  std::uint32_t boot_loader_name = 0;
  std::uint32_t apm_table = 0;
  std::uint32_t vbe[4] = {};
};
static_assert(offsetof(MultibootInfo, mmap_length) == 44);
static_assert(offsetof(MultibootInfo, boot_loader_name) == 64);
static_assert(sizeof(MultibootInfo) == 88);

struct MultibootModule {
  std::uint32_t mod_start = 0;
  std::uint32_t mod_end = 0;
  std::uint32_t string = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(MultibootModule) == 16);

#pragma pack(push, 1)
// `size` does not count itself; the next entry begins behind as many bytes.
struct MultibootMmapEntry {
  std::uint32_t size = 20;
  std::uint64_t addr = 0;
  std::uint64_t len = 0;
  std::uint32_t type = 0;  // E820Type
};
static_assert(sizeof(MultibootMmapEntry) == 24);
#pragma pack(pop)

}  // namespace cbit::spec
