// cbit launch --check: somebody's configuration of a guest, read from where it is, and judged for a host.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/rules.hpp"

namespace cbit::launch {

struct CheckRequest {
  // A file with a command line, libvirt's XML or Kata's configuration; "-": standard input; the id of a
  // process; or the command line itself.
  std::string what;
  // "live", "none", or a captured tree; nullopt: this machine, as far as it can start the guest.
  std::optional<std::string> host;
  std::optional<QemuVersion> qemu;
  bool encrypted = true;
};

struct CheckReport {
  GuestConfig config;
  std::vector<Finding> findings;
  std::string host = "live";  // which one they are about; "none"
  std::string obstacle;       // why this machine cannot start the guest, which was judged for no host then
};

// Errors (input) of the configuration or the captured tree.
[[nodiscard]] OrError<CheckReport> check_guest(const CheckRequest& request);

// The words of a running process, as it was started. Errors (input): no such process, no right to see it, or
// one without words, which the kernel's own are.
[[nodiscard]] OrError<std::vector<std::string>> words_of_process(std::string_view id);

}  // namespace cbit::launch
