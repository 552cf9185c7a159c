// What kind of file a user gave as kernel, and the loader that takes it.
#pragma once

#include <string_view>

#include "boot/boot_image.hpp"
#include "boot/plan.hpp"

namespace cbit::boot {

enum class KernelKind : std::uint8_t {
  bzimage,    // Linux with its boot header
  multiboot,  // version 1: a 32-bit ELF file, or any that says where its parts go
  pvh,        // ELF with the note of a 32-bit entry
  vmlinux,    // 64-bit ELF, entered as the stub of a bzImage enters it
};
[[nodiscard]] std::string_view to_string(KernelKind kind);

// In the order that QEMU tries them in: boot header, multiboot header, PVH note; but
// Linux for 64 bits as an ELF file is `vmlinux`: its PVH entry does not know the encryption bit.
// Errors (input): none of them; the message says what the file is instead, as far as its first bytes tell.
OrError<KernelKind> kernel_kind(ConstByteSpan file, std::string_view name);

// The plan of whatever it is. Errors (input): those of kernel_kind() and of the kind's own plan.
OrError<LoadPlan> plan_image(const Board& board, const BootImage& image);

}  // namespace cbit::boot
