// A guest's configuration as somebody wrote it: for QEMU, or for libvirt.
//
// Either way the options are QEMU's, so that one set of rules judges both; what they say about an option is
// said in the writer's language.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/qemu_command.hpp"

namespace cbit::launch {

enum class GuestLanguage : std::uint8_t { qemu, libvirt };

struct GuestConfig {
  GuestLanguage language = GuestLanguage::qemu;
  QemuCommand command;
  // libvirt: the element that each of command.options comes from, such as "devices/disk[2]".
  std::vector<std::string> places;
  // libvirt: memtune/hard_limit, which is also the limit of locked memory of the process.
  std::optional<std::uint64_t> hard_limit_bytes;
};

}  // namespace cbit::launch
