// The notes of a crash dump: what its readers learn before they look at memory. In QEMU's order (dump/dump.c,
// write_elf64_notes()):
//
//   CORE        NT_PRSTATUS, general registers: of each processor
//   QEMU        QEMUCPUState, segments and control registers besides: of each processor. crash takes such a
//               dump for one that was made from outside, whose registers are there for processors that the
//               kernel has stopped, too, and without crash_notes of the kernel's
//   VMCOREINFO  what the kernel says of itself, where it does
//
// Layout: System V gABI, "Note Section"; QEMU, target/i386/arch_dump.c.
// Threading: that of the machine.
#pragma once

#include <string_view>

#include "guest/pc.hpp"

namespace cbit::guest {

[[nodiscard]] Bytes vmcore_notes(const Pc& pc, std::string_view vmcoreinfo);

}  // namespace cbit::guest
