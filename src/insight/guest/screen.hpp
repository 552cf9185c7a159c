// The picture that a PC's display shows, as a file: PNG where its name ends with .png, else PPM (P6), as
// QEMU's screendump writes it.
//
// Threading: that of the machine, which stands still.
#pragma once

#include <string>
#include <string_view>

#include "guest/pc.hpp"
#include "os/output_file.hpp"

namespace cbit::guest {

[[nodiscard]] bool has_display(const Pc& pc);

// Of the first display. `path`: the file's, whose name decides. Errors (input): there is no display, or it
// shows nothing; (output_failed).
OrError<void> write_screen(const Pc& pc, std::string_view path, os::OutputFile out);

}  // namespace cbit::guest
