// Putting a plan into memory: as it is, or through the firmware that encrypts and measures it.
//
// Errors (input) of both: memory refuses the loader, which has happened only where something else protects
// it. Threading: one thread, before a processor runs.
#pragma once

#include "boot/plan.hpp"
#include "machine/machine.hpp"

namespace cbit::boot {

// Whole pages under no key: what platform plain sees, and SME with the C-bit clear.
OrError<void> load_plain(machine::Machine& machine, const LoadPlan& plan);

}  // namespace cbit::boot
