// ELF kernels: entered by the PVH note, or, where they are Linux for 64 bits, at the kernel proper's own
// entry.
#pragma once

#include <optional>

#include "boot/boot_image.hpp"
#include "boot/elf.hpp"
#include "boot/plan.hpp"

namespace cbit::boot {

// The 32-bit entry of the PVH note; nullopt: there is none.
[[nodiscard]] std::optional<PhysAddr> pvh_entry(const ElfFile& elf);
// The file has Linux' own notes.
[[nodiscard]] bool is_linux(const ElfFile& elf);

// By the x86/HVM direct boot ABI: hvm_start_info with command line, modules, memory map and RSDP. Errors
// (input): no note; what does not fit.
OrError<LoadPlan> plan_pvh(const Board& board, const BootImage& image);

// At startup_64 of arch/x86/kernel/head_64.S, as the stub would enter it, but without its KASLR. Errors
// (input): no 64-bit executable; what does not fit; with SEV or SME, a kernel that cannot do it.
OrError<LoadPlan> plan_vmlinux(const Board& board, const BootImage& image);

// Adds the segments. Errors (input): they do not fit.
OrError<void> add_segments(LoadPlan& plan, const ElfFile& elf, std::string_view name);

}  // namespace cbit::boot
