// What a guest firmware image says of itself.
//
// OVMF ends with a table of GUIDs, below the reset vector, that tells a VMM where the image keeps what an
// encrypted guest needs (OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm). SeaBIOS has none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "launch/rules.hpp"

namespace cbit::launch {

struct Firmware {
  std::string path;
  std::uint64_t bytes = 0;
  bool ovmf = false;                 // the table is there
  bool sev_es = false;               // SEV-ES reset block, in the table or, in 2020, alone
  bool sev_snp = false;              // SEV metadata: which pages are launched how
  bool tdx = false;                  // TDX metadata
  std::uint32_t sev_hash_bytes = 0;  // room for the hashes of kernel, initrd and command line; 0: none
  friend bool operator==(const Firmware&, const Firmware&) = default;
};

inline constexpr std::uint64_t firmware_bytes_max = 16 << 20;
// QEMU's hash table with its padding (target/i386/sev.c: PaddedSevHashTable): less room is refused.
inline constexpr std::uint32_t sev_hash_table_bytes = 176;

// Never fails: an image without a well-formed table is one that says nothing.
[[nodiscard]] Firmware parse_firmware(std::string path, std::span<const std::byte> image);
// Errors (input): no file, not readable, larger than firmware_bytes_max.
[[nodiscard]] OrError<Firmware> read_firmware(const std::string& path);
// The same of what -bios or a flash names, which QEMU also looks for in its own folders.
[[nodiscard]] OrError<Firmware> read_guest_firmware(const std::string& name);
// The images that distributions install, in the order in which the planner tries them.
[[nodiscard]] std::vector<Firmware> installed_firmware();

[[nodiscard]] bool boots(const Firmware& firmware, Protection protection);
[[nodiscard]] bool has_room_for_hashes(const Firmware& firmware);

}  // namespace cbit::launch
