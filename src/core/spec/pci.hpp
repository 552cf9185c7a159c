// PCI configuration space: headers, capabilities, MSI and MSI-X. PCI Local Bus Specification 3.0, chapter 6;
// PCI Bus Power Management Interface Specification 1.2, 3.2; PCI Express Base Specification 3.0, 7.8. The
// same values stand in Linux's include/uapi/linux/pci_regs.h and include/linux/pci_ids.h.
#pragma once

#include <cstdint>

#include "base/ids.hpp"
#include "base/reg.hpp"

namespace cbit::spec {

inline constexpr std::uint32_t pci_config_bytes = 256;
inline constexpr std::uint32_t pci_extended_config_bytes = 4096;
inline constexpr std::uint32_t pci_header_bytes = 64;
inline constexpr unsigned pci_bars = 6;
inline constexpr unsigned pci_devices = 32;  // of a bus
inline constexpr unsigned pci_functions = 8;

// Offsets in the header, type 0: 6.1, figure 6-1.
namespace pci_register {
inline constexpr std::uint32_t vendor_id = 0x00;
inline constexpr std::uint32_t device_id = 0x02;
inline constexpr std::uint32_t command = 0x04;
inline constexpr std::uint32_t status = 0x06;
inline constexpr std::uint32_t revision_id = 0x08;
inline constexpr std::uint32_t class_code = 0x09;  // 3 bytes: interface, subclass, base class
inline constexpr std::uint32_t cache_line_size = 0x0c;
inline constexpr std::uint32_t latency_timer = 0x0d;
inline constexpr std::uint32_t header_type = 0x0e;
inline constexpr std::uint32_t base_address = 0x10;  // the first of six
inline constexpr std::uint32_t subsystem_vendor_id = 0x2c;
inline constexpr std::uint32_t subsystem_id = 0x2e;
inline constexpr std::uint32_t capabilities = 0x34;
inline constexpr std::uint32_t interrupt_line = 0x3c;
inline constexpr std::uint32_t interrupt_pin = 0x3d;
}  // namespace pci_register

// 6.2.2.
struct PciCommand : Register<PciCommand, std::uint16_t> {
  using InterruptDisable = Field<10, 10, bool>;
  using SerrEnable = Field<8, 8, bool>;
  using ParityErrorResponse = Field<6, 6, bool>;
  using BusMaster = Field<2, 2, bool>;
  using MemorySpace = Field<1, 1, bool>;
  using IoSpace = Field<0, 0, bool>;
};
static_assert(PciCommand{{0x400}}.get<PciCommand::InterruptDisable>());

// 6.2.3.
struct PciStatus : Register<PciStatus, std::uint16_t> {
  using CapabilitiesList = Field<4, 4, bool>;
  using InterruptStatus = Field<3, 3, bool>;
};
static_assert(PciStatus{{0x10}}.get<PciStatus::CapabilitiesList>());

// 6.2.5.1: the bits of a base address register that are not address.
namespace pci_bar {
inline constexpr std::uint32_t io = 1;
inline constexpr std::uint32_t memory_64 = 4;
inline constexpr std::uint32_t prefetchable = 8;
inline constexpr std::uint32_t memory_flags = 0xf;
inline constexpr std::uint32_t io_flags = 3;
}  // namespace pci_bar

// Base class, subclass, interface; appendix D.
struct PciClass {
  std::uint8_t base = 0;
  std::uint8_t sub = 0;
  std::uint8_t interface = 0;

  friend bool operator==(const PciClass&, const PciClass&) = default;
};
namespace pci_class {
inline constexpr PciClass mass_storage_scsi{0x01, 0x00};
inline constexpr PciClass mass_storage_nvme{0x01, 0x08, 0x02};
inline constexpr PciClass network_ethernet{0x02, 0x00};
inline constexpr PciClass display_other{0x03, 0x80};
inline constexpr PciClass bridge_host{0x06, 0x00};
inline constexpr PciClass communication_other{0x07, 0x80};
inline constexpr PciClass system_iommu{0x08, 0x06};
inline constexpr PciClass other{0xff, 0x00};  // fits no class
}  // namespace pci_class

// Appendix H, and the PCI Code and ID Assignment Specification.
namespace pci_capability {
inline constexpr std::uint8_t power_management = 0x01;
inline constexpr std::uint8_t msi = 0x05;
inline constexpr std::uint8_t vendor_specific = 0x09;
inline constexpr std::uint8_t express = 0x10;
inline constexpr std::uint8_t msi_x = 0x11;
}  // namespace pci_capability

// Power management, 3.2. Offsets within the capability.
namespace pci_pm {
inline constexpr std::uint32_t capabilities = 2;
inline constexpr std::uint32_t control = 4;
inline constexpr std::uint32_t bytes = 8;
inline constexpr std::uint16_t version_1_2 = 3;
}  // namespace pci_pm
struct PciPmControl : Register<PciPmControl, std::uint16_t> {
  using NoSoftReset = Field<3, 3, bool>;
  using PowerState = Field<1, 0, unsigned>;  // 0: D0, 3: D3hot
};

// MSI with 64-bit addresses and masks, 6.8.1. Offsets within the capability.
namespace pci_msi {
inline constexpr std::uint32_t control = 2;
inline constexpr std::uint32_t address = 4;
inline constexpr std::uint32_t upper_address = 8;
inline constexpr std::uint32_t data = 12;
inline constexpr std::uint32_t mask = 16;
inline constexpr std::uint32_t pending = 20;
inline constexpr std::uint32_t bytes = 24;
inline constexpr unsigned vectors_max = 32;
}  // namespace pci_msi
struct PciMsiControl : Register<PciMsiControl, std::uint16_t> {
  using PerVectorMasking = Field<8, 8, bool>;
  using Address64 = Field<7, 7, bool>;
  using MultipleMessageEnable = Field<6, 4, unsigned>;   // log2
  using MultipleMessageCapable = Field<3, 1, unsigned>;  // log2
  using Enable = Field<0, 0, bool>;
};
static_assert(PciMsiControl{{0x70}}.get<PciMsiControl::MultipleMessageEnable>() == 7);

// MSI-X, 6.8.2. Offsets within the capability, then within an entry of the table.
namespace pci_msix {
inline constexpr std::uint32_t control = 2;
inline constexpr std::uint32_t table = 4;  // offset; bits 2:0: the BAR
inline constexpr std::uint32_t pba = 8;    // likewise
inline constexpr std::uint32_t bytes = 12;
inline constexpr unsigned vectors_max = 2048;
inline constexpr std::uint32_t entry_bytes = 16;
inline constexpr std::uint32_t entry_masked = 1;  // bit 0 of vector control
}  // namespace pci_msix
struct PciMsixControl : Register<PciMsixControl, std::uint16_t> {
  using Enable = Field<15, 15, bool>;
  using FunctionMask = Field<14, 14, bool>;
  using TableSize = Field<10, 0, unsigned>;  // vectors - 1
};
static_assert(PciMsixControl{{0x4000}}.get<PciMsixControl::FunctionMask>());

struct PciMsixEntry {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  std::uint32_t vector_control = entry_masked_at_reset;

  static constexpr std::uint32_t entry_masked_at_reset = pci_msix::entry_masked;
};
static_assert(sizeof(PciMsixEntry) == pci_msix::entry_bytes);

// PCI Express, 7.8: of a root complex integrated endpoint, which has no link. Offsets within the capability.
namespace pci_express {
inline constexpr std::uint32_t flags = 0x02;
inline constexpr std::uint32_t device_capabilities = 0x04;
inline constexpr std::uint32_t device_control = 0x08;
inline constexpr std::uint32_t bytes = 0x2c;  // without the link's, slot's and root's registers
inline constexpr std::uint16_t version_2 = 2;
inline constexpr std::uint16_t integrated_endpoint = 9 << 4;
inline constexpr std::uint32_t role_based_errors = 1u << 15;
inline constexpr std::uint32_t function_level_reset = 1u << 28;
inline constexpr std::uint16_t control_at_reset = 0x2810;  // read requests of 512 bytes, relaxed, no snoop
inline constexpr std::uint16_t control_settable = 0x78ff;  // but for what is not offered
inline constexpr std::uint16_t initiate_reset = 1u << 15;
}  // namespace pci_express

// Where a function is asked for. 3.2.2.3.2: CONFIG_ADDRESS, port CF8h; PCI Express 7.2.2: an offset in ECAM.
struct PciConfigAddress : Register<PciConfigAddress, std::uint32_t> {
  using Enable = Field<31, 31, bool>;
  using Bus = Field<23, 16, unsigned>;
  using Device = Field<15, 11, unsigned>;
  using Function = Field<10, 8, unsigned>;
  using RegisterNumber = Field<7, 2, unsigned>;  // in dwords
};
struct PciEcamOffset : Register<PciEcamOffset, std::uint64_t> {
  using Bus = Field<27, 20, unsigned>;
  using Device = Field<19, 15, unsigned>;
  using Function = Field<14, 12, unsigned>;
  using Offset = Field<11, 0, unsigned>;
};
inline constexpr std::uint64_t pci_ecam_bytes_per_bus = 1 << 20;

// Bus, device, function as a requester.
[[nodiscard]] constexpr RequesterId pci_requester(unsigned bus, unsigned device, unsigned function) {
  return static_cast<RequesterId>(bus << 8 | device << 3 | function);
}
[[nodiscard]] constexpr unsigned pci_device_of(RequesterId requester) { return requester >> 3 & 0x1f; }

}  // namespace cbit::spec
