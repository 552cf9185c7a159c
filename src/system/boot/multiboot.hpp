// Multiboot version 1, as QEMU's -kernel has it (hw/i386/multiboot.c, pc-bios/optionrom/multiboot.S): what
// test suites of kernels are built for.
#pragma once

#include <optional>

#include "boot/boot_image.hpp"
#include "boot/plan.hpp"
#include "spec/multiboot.hpp"

namespace cbit::boot {

struct MultibootImage {
  spec::MultibootHeader header;
  std::size_t header_at = 0;  // in the file
};

// The header in the first 8 KiB, on a 4-byte boundary; nullopt: there is none.
[[nodiscard]] std::optional<MultibootImage> find_multiboot_header(ConstByteSpan file);

// Errors (input): no header; addresses in it that contradict each other or the file; a 64-bit ELF file
// without such addresses; flags that a loader must understand and does not; what does not fit.
OrError<LoadPlan> plan_multiboot(const Board& board, const BootImage& image);

}  // namespace cbit::boot
