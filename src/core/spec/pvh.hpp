// The x86/HVM direct boot ABI (PVH): what a kernel is given, and where it says how to enter it.
// xen/include/public/arch-x86/hvm/start_info.h, docs/misc/pvh.pandoc and elfnote.h of Xen.
#pragma once

#include <cstdint>

namespace cbit::spec {

// The note of an ELF file that holds the 32-bit entry: owner "Xen".
inline constexpr std::uint32_t xen_elfnote_phys32_entry = 18;

inline constexpr std::uint32_t hvm_start_magic = 0x336e'c578;  // "xEn3", with bit 7 of the "E" set
inline constexpr std::uint32_t hvm_start_version = 1;          // with a memory map

struct HvmStartInfo {
  std::uint32_t magic = hvm_start_magic;
  std::uint32_t version = hvm_start_version;
  std::uint32_t flags = 0;
  std::uint32_t nr_modules = 0;
  std::uint64_t modlist_paddr = 0;
  std::uint64_t cmdline_paddr = 0;
  std::uint64_t rsdp_paddr = 0;
  std::uint64_t memmap_paddr = 0;
  std::uint32_t memmap_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmStartInfo) == 56);

struct HvmModule {
  std::uint64_t paddr = 0;
  std::uint64_t size = 0;
  std::uint64_t cmdline_paddr = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(HvmModule) == 32);

struct HvmMemmapEntry {
  std::uint64_t addr = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;  // E820Type
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HvmMemmapEntry) == 24);

}  // namespace cbit::spec
