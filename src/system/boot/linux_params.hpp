// boot_params and what it points to, for the two ways of entering a Linux kernel at a 64-bit entry.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "boot/boot_image.hpp"
#include "boot/plan.hpp"

namespace cbit::boot {

struct LinuxParams {
  ConstByteSpan image_header;     // all of the image's, which may be longer than what we know of it
  spec::LinuxSetupHeader header;  // goes over it
  std::uint32_t command_line_bytes_max = 255;
  PhysAddr initrd_limit;         // where the initrd ends at the latest
  bool initrd_above_4g = false;  // unless there is no room, and this is set
};

// Adds command line, initrd, setup_data and boot_params to a plan that has the kernel, and sets RSI. Errors
// (input): the command line is too long or has a zero in it; no room for the initrd; more than one module.
OrError<void> add_linux_params(LoadPlan& plan, const BootImage& image, LinuxParams params);

// The command line with mem_encrypt=on at its end, unless it has that option already: SME needs the word
// exactly (sme_enable() of Linux 6.1, parse_mem_encrypt() of the stub of 6.12).
[[nodiscard]] std::string with_memory_encryption(std::string command_line);

// The value of the last NAME=VALUE, as the kernel finds it before it parses its command line
// (arch/x86/lib/cmdline.c); nullopt: none.
[[nodiscard]] std::optional<std::string_view> early_option(std::string_view command_line,
                                                           std::string_view name);

}  // namespace cbit::boot
