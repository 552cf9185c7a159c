// Which part of a process to look at, as a user says it:
//
//   0x7f2e00000000+4K          START+LENGTH
//   7f2e00000000-7f2e00001000  START-END, hexadecimal, as /proc/PID/maps prints it
//   largest                    the mapping that largest_memory() finds
//   [heap], /memfd:ram, ram.so the mappings of this name or file name
#pragma once

#include "process/maps.hpp"

namespace cbit::process {

// Byte by byte; see whole_pages(). Errors (usage): it is no range and names no mapping, it is
// empty, or it ends beyond the address space.
[[nodiscard]] OrError<std::vector<VirtRange>> resolve_range(std::string_view word,
                                                            std::span<const Mapping> mappings);

// Widened to page borders. A range that was resolved does not overflow.
[[nodiscard]] VirtRange whole_pages(const VirtRange& range);

}  // namespace cbit::process
