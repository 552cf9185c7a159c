// What a PC's firmware does to PCI before an operating system starts, by configuration accesses alone: finds
// the functions, gives each BAR an address, and turns decoding on. An operating system may do it over again.
#pragma once

#include <cstdint>

#include "bus/pci/pci_bus.hpp"

namespace cbit::bus {

struct PciResources {
  mem::PhysRange memory;  // below 4 GiB
  PortRange ports;
};

// In the order of device numbers, each BAR at the next multiple of its size. One that has no room stays
// without address, and its function without decoding. Bus mastership and interrupts are left to drivers.
void assign_pci_resources(PciBus& bus, const PciResources& resources);

}  // namespace cbit::bus
