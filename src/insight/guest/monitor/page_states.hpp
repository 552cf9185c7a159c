// What became of a guest's physical pages: by whom, and under which key, each was written last.
//
// Of at most so many lines; what is left out is said. Threading: that of the machine.
#pragma once

#include <string>

#include "guest/monitor/inspector.hpp"

namespace cbit::guest {

// Ranges of neighbours of the same state, from the page of `from` on, and sums of all.
[[nodiscard]] std::string page_states_text(const Inspector& inspector, PhysAddr from, std::size_t lines_max);

}  // namespace cbit::guest
