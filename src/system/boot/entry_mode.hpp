// The two modes that images are entered in, and what each needs in memory: a GDT, and for long mode page
// tables that map RAM below 4 GiB to itself.
#pragma once

#include "boot/plan.hpp"

namespace cbit::boot {

// Puts GDT and page tables into the plan, and makes its entry state long mode with interrupts off and flat
// segments, as the Linux 64-bit boot protocol has it; RIP and RSI are the caller's.
//
// `encryption_mask`: the C-bit where the image is loaded encrypted, else 0. Every entry carries it: leaves
// because the image is private, tables because Linux's own do (the walker of a guest ignores it there).
OrError<void> enter_long_mode(LoadPlan& plan, std::uint64_t encryption_mask);

// The same for flat 32-bit protected mode without paging, as PVH and multiboot have it. GDT, selectors (CS
// 08h, the others 10h) and a stack are there although neither promises them: kernels are tried on QEMU, which
// has them.
OrError<void> enter_protected_mode(LoadPlan& plan);

}  // namespace cbit::boot
