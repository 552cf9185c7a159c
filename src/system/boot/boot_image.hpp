// What a user boots, on what: the arguments of every loader.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "boot/pc_description.hpp"
#include "machine/machine.hpp"
#include "spec/linux_boot.hpp"

namespace cbit::boot {

// An initrd, or a module of a multiboot kernel.
struct BootModule {
  std::string name;  // its file, then what a multiboot kernel shall read behind it
  ConstByteSpan bytes;
};

// A node of boot_params' setup_data.
struct SetupData {
  spec::LinuxSetupType type{};
  Bytes data;
};

struct BootImage {
  std::string name;  // the kernel's file
  ConstByteSpan kernel;
  std::vector<BootModule> modules;  // Linux takes one
  std::string command_line;
  std::vector<SetupData> setup_data;  // for Linux' own entries only
};

// The machine as a loader sees it.
struct Board {
  Platform platform = Platform::plain;
  std::vector<mem::PhysRange> ram;    // as Memory::ram()
  std::uint64_t encryption_mask = 0;  // the C-bit, where the image is loaded encrypted
  PcDescription pc;
};

[[nodiscard]] Board board_of(machine::Machine& machine, const PcDescription& pc);

// The C-bit where the platform's guests are loaded encrypted.
[[nodiscard]] constexpr bool is_loaded_encrypted(Platform platform) {
  return machine::traits_of(platform).image_load == machine::ImageLoad::encrypted;
}

}  // namespace cbit::boot
