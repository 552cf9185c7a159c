// Takes out of a host's files what tells who or which one it is, and everything that is not known to be
// needed.
//
// What stays is on a list: for each file that the doctor reads, what its content may look like; for the
// kernel's command line, parameters and the words and numbers of their values; for its log, the words of the
// messages that are understood, numbers, and names of devices and drivers. Everything else becomes
// "<masked>", or goes. So a secret stays out because nobody has listed it, whatever it looks like and however
// it is quoted. What is listed is searched once more for hardware addresses and unique identifiers.
//
// A masked value keeps its place ("root=<masked>", "xx:xx:xx:xx:xx:xx"), so that what is read of the file
// stays the same. Functions of their text alone, in linear time, that change nothing when they are used
// again.
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

// /proc/cmdline, cut as the kernel does. Flags stay that are known, values where parameter and value are;
// names of other parameters stay where they are words. What follows `--` is init's, and goes.
[[nodiscard]] Masked mask_command_line(std::string_view line);

// Hardware addresses (Ethernet, InfiniBand), UUIDs, GUIDs, GIDs, network addresses, mail addresses and runs
// of digits as serial numbers have them, anywhere in a text.
[[nodiscard]] Masked mask_identifiers(std::string_view text);

// A file of the host by its path. One that is not on the list becomes "<masked>".
[[nodiscard]] Masked mask_file(std::string_view path, std::string_view text);

// "6.1.0-30-amd64": numbers, and what distributions call their kernels.
[[nodiscard]] Masked mask_release(std::string_view release);

// The lines that matter of a kernel's log (facts/kernel_log.hpp), and of these the listed words.
[[nodiscard]] Masked mask_kernel_log(std::string_view log);

// A component of a path below `folder` ("net"), which the host may have chosen: it is the kernel's word, an
// address, or follows from where a device sits. Others may have a hardware address in them, or somebody's
// name.
[[nodiscard]] bool is_kept_name(std::string_view folder, std::string_view name);

}  // namespace cbit::facts
