// A guest's configuration as somebody wrote it: for QEMU, for libvirt, or for Kata Containers.
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

enum class GuestLanguage : std::uint8_t { qemu, libvirt, kata };

// What of Kata's configuration is no option of QEMU's.
struct KataFacts {
  bool confidential = false;  // confidential_guest
  bool snp = false;           // sev_snp_guest
  bool image = false, initrd = false;
  bool size_is_fixed = false;  // [runtime] static_sandbox_resource_mgmt
  bool from_template = false;  // [factory] enable_template
};

struct GuestConfig {
  GuestLanguage language = GuestLanguage::qemu;
  QemuCommand command;
  std::string folder;  // where its relative file names start, ending in "/"; empty: where cbit runs
  // libvirt: the element that each of command.options comes from, such as "devices/disk[2]"; Kata: the key,
  // such as "hypervisor.qemu.kernel".
  std::vector<std::string> places;
  // libvirt: memtune/hard_limit, which is also the limit of locked memory of the process.
  std::optional<std::uint64_t> hard_limit_bytes;
  std::optional<KataFacts> kata;
};

}  // namespace cbit::launch
