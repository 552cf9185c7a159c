// What every image finds in memory whatever its protocol: the memory map's first megabyte, ACPI tables.
#pragma once

#include "boot/boot_image.hpp"
#include "boot/plan.hpp"

namespace cbit::boot {

// A plan with the tables of the board and its memory map. Page 0, the page of an EBDA and the BIOS area are
// loaded, with zeros but for interrupt vectors, their handlers and the RSDP: kernels look there for tables,
// and unloaded memory of an encrypted guest reads as noise.
// Errors (input): the platform's images cannot be loaded; too little RAM.
OrError<LoadPlan> begin_plan(const Board& board);

// Where the RSDP is in every plan.
[[nodiscard]] PhysAddr rsdp_address();

// Places a module at a page boundary, as high as it can be below `limit`. Errors (input): it is larger than
// what is free there.
OrError<PhysAddr> add_module(LoadPlan& plan, const BootModule& module, PhysAddr limit);

}  // namespace cbit::boot
