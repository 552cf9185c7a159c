// <devices> of a libvirt domain, as the options of QEMU that libvirt makes of them.
#pragma once

#include <string>
#include <vector>

#include "launch/qemu_command.hpp"

namespace pugi {
class xml_node;
}

namespace cbit::launch {

struct LibvirtDevice {
  std::string place;  // "devices/disk[2]"
  QemuOption option;
};

// Devices that memory encryption has nothing to do with are left out.
[[nodiscard]] std::vector<LibvirtDevice> libvirt_devices(const pugi::xml_node& devices);

}  // namespace cbit::launch
