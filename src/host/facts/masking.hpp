// Takes out of a host's files what tells who or which one it is: hardware addresses, serial numbers, unique
// identifiers, host names, where the kernel lies in memory, and the values of kernel parameters that are not
// known to be harmless.
//
// A masked value keeps its place ("root=<masked>", "xx:xx:xx:xx:xx:xx"), so that what is read of the file
// stays the same. Functions of their text alone, in linear time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cbit::facts {

struct Masked {
  std::string text;
  std::size_t values = 0;  // that were masked

  friend bool operator==(const Masked&, const Masked&) = default;
};

// /proc/cmdline. Names of parameters stay; values stay where the parameter is about memory, DMA, IOMMUs or
// virtualization. What follows `--` is init's, and goes.
[[nodiscard]] Masked mask_command_line(std::string_view line);

// MAC addresses, UUIDs, GUIDs and 128-bit identifiers anywhere in a text.
[[nodiscard]] Masked mask_identifiers(std::string_view text);

// A file of the host by its path: one of the above, and files that are an identifier as a whole.
[[nodiscard]] Masked mask_file(std::string_view path, std::string_view text);

// Lines that matter of a kernel's log (host/facts/kernel_log.hpp), without identifiers and who built it.
[[nodiscard]] Masked mask_kernel_log(std::string_view log);

}  // namespace cbit::facts
