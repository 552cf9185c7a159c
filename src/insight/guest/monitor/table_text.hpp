// A guest's page tables as QEMU's `info mem` and `info tlb` have them (target/i386/monitor.c), with a column
// for what a mapping's key bits say.
//
// Of at most so many lines; what is left out is said. Threading: that of the machine.
#pragma once

#include <string>

#include "guest/monitor/inspector.hpp"

namespace cbit::guest {

// "ffffffff81000000-ffffffff81200000 0000000000200000 -r- encrypted"
[[nodiscard]] std::string mapped_ranges_text(const Inspector& inspector, std::size_t lines_max);
// "ffffffff81000000: 0000000001000000 -GP-A---- encrypted"
[[nodiscard]] std::string mapped_pages_text(const Inspector& inspector, VirtAddr from, std::size_t lines_max);

}  // namespace cbit::guest
