// What tells this build of the program from all others.
#pragma once

#include <string>

namespace cbit::os {

// The linker's build id of the program that runs, in hexadecimal digits (.note.gnu.build-id, ld(1):
// --build-id). Empty: it was linked without one.
[[nodiscard]] std::string build_id();

}  // namespace cbit::os
