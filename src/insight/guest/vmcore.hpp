// A guest's memory and processors as a crash dump, which drgn, crash, makedumpfile and gdb open: an ELF core.
//
//   PT_NOTE  each processor's registers, and VMCOREINFO, which the kernel has made for its own dumps
//            (vmcore_notes.hpp)
//   PT_LOAD  each range of RAM, at its physical address and its place in the kernel's direct map; the same
//            bytes of the file once more where the kernel has them mapped elsewhere: text, stacks, modules
//
// Without a kernel that is known there is no VMCOREINFO, and virtual addresses are 0, as in QEMU's dumps
// without paging (dump/dump.c). Pages of zeros are holes in the file. The machine is not changed.
// Layout: System V gABI, chapter 5; Linux, fs/proc/vmcore.c and kernel/crash_core.c.
//
// Errors: those of os::NewFile (output_failed); a name that is no file's (usage).
// Threading: that of the machine.
#pragma once

#include <string>
#include <vector>

#include "guest/pc.hpp"
#include "linux/guest_memory.hpp"
#include "linux/running.hpp"

namespace cbit::guest {

// Whose eyes a dump has.
enum class DumpView : std::uint8_t {
  guest,  // each page through the key that it was written with last
  host,   // without a key: what host software, or whoever holds the DRAM, has
};

// What a kernel says of itself to readers of its dumps.
struct KernelForDump {
  std::string vmcoreinfo;  // its text; empty: the kernel has none
  VirtAddr text;           // _text, where it runs
  std::uint64_t text_bytes = 0;
  PhysAddr text_phys;
  VirtAddr direct_map;  // page_offset_base
};
// nullopt: not all of that is mapped.
[[nodiscard]] std::optional<KernelForDump> kernel_for_dump(const linux::RunningKernel& kernel,
                                                           const linux::GuestMemory& memory);

// The file is there whole, or not at all.
OrError<void> write_vmcore(const Pc& pc, const std::optional<KernelForDump>& kernel, DumpView view,
                           const std::string& path);

}  // namespace cbit::guest
