// What the loaders and ACPI tables tell a guest about the PC around it: where its parts are, and how
// interrupts are wired.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ids.hpp"
#include "cbit/addr.hpp"
#include "mem/memory.hpp"

namespace cbit::boot {

// An AMD IOMMU in front of all functions of bus 0 but the host bridge.
struct AmdIommuDescription {
  RequesterId function = 0;
  std::uint16_t capability = 0;  // of that function's configuration space
  PhysAddr registers;
  std::uint64_t features = 0;  // spec::AmdIommuFeatures
  RequesterId ioapic = 0;      // whose the IOAPIC's interrupts are
};

struct PcDescription {
  unsigned cpus = 1;  // APIC ids 0 .. cpus - 1

  PhysAddr local_apic{0xfee0'0000};
  PhysAddr io_apic{0xfec0'0000};
  std::uint8_t io_apic_id = 0;

  // PCI Express configuration space of buses 0 .. ecam.bytes / 1 MiB - 1, and where devices may be mapped.
  mem::PhysRange ecam{PhysAddr{0xe000'0000}, 256ull << 20};
  mem::PhysRange pci_memory{PhysAddr{0xc000'0000}, 512ull << 20};
  // Interrupt pin p (0: INTA) of device d on bus 0 is GSI pci_gsi + (d + p) % pci_gsis.
  std::uint8_t pci_gsi = 16;
  std::uint8_t pci_gsis = 8;

  // Of the PICs' inputs 0, as firmware leaves them.
  std::uint8_t pic_master_vectors = 0x08;
  std::uint8_t pic_slave_vectors = 0x70;

  std::uint8_t sci = 9;  // level, active high
  std::uint16_t pm1_event = 0x600;
  std::uint16_t pm1_control = 0x604;
  std::uint16_t pm_timer = 0x608;
  unsigned pm_timer_bits = 32;     // or 24
  std::uint8_t sleep_type_s5 = 0;  // SLP_TYP of soft off
  std::uint16_t reset_port = 0xcf9;
  std::uint8_t reset_value = 0x06;
  std::uint8_t rtc_century = 0x32;  // its index in CMOS RAM

  std::optional<AmdIommuDescription> amd_iommu;
  // The function of a virtio-iommu in front of all other functions of bus 0 but the host bridge; endpoints
  // have the functions' numbers.
  std::optional<RequesterId> virtio_iommu;

  [[nodiscard]] std::uint8_t gsi_of(unsigned device, unsigned pin) const {
    return static_cast<std::uint8_t>(pci_gsi + (device + pin) % pci_gsis);
  }
};

}  // namespace cbit::boot
