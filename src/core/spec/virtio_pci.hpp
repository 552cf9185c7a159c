// virtio over PCI: identification, capabilities, registers. VIRTIO 1.2, 4.1; include/uapi/linux/virtio_pci.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

// 4.1.2.
inline constexpr std::uint16_t virtio_pci_vendor = 0x1af4;
inline constexpr std::uint16_t virtio_pci_device_base = 0x1040;  // + the type of the device
inline constexpr std::uint8_t virtio_pci_revision = 1;           // of a transitional device: 0
inline constexpr std::uint16_t virtio_pci_subsystem = 0x40;  // at least; a transitional device's: its type

// 4.1.4: cfg_type.
namespace virtio_pci_cap {
inline constexpr std::uint8_t common = 1;
inline constexpr std::uint8_t notify = 2;
inline constexpr std::uint8_t isr = 3;
inline constexpr std::uint8_t device = 4;
inline constexpr std::uint8_t pci = 5;
}  // namespace virtio_pci_cap

struct VirtioPciCap {
  std::uint8_t cap_vndr = 0;
  std::uint8_t cap_next = 0;
  std::uint8_t cap_len = sizeof(VirtioPciCap);
  std::uint8_t cfg_type = 0;
  std::uint8_t bar = 0;
  std::uint8_t id = 0;
  std::uint8_t padding[2] = {};
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(VirtioPciCap) == 16 && offsetof(VirtioPciCap, offset) == 8);
// What follows it: of `notify` the multiplier of the queue's offset, of `pci` the data window.
inline constexpr std::uint32_t virtio_pci_cap_extra = 16;
inline constexpr std::uint8_t virtio_pci_cap_long_bytes = 20;

// 4.1.4.3.
struct VirtioPciCommon {
  std::uint32_t device_feature_select = 0;
  std::uint32_t device_feature = 0;
  std::uint32_t driver_feature_select = 0;
  std::uint32_t driver_feature = 0;
  std::uint16_t config_msix_vector = 0;
  std::uint16_t num_queues = 0;
  std::uint8_t device_status = 0;
  std::uint8_t config_generation = 0;
  std::uint16_t queue_select = 0;
  std::uint16_t queue_size = 0;
  std::uint16_t queue_msix_vector = 0;
  std::uint16_t queue_enable = 0;
  std::uint16_t queue_notify_off = 0;
  std::uint64_t queue_desc = 0;
  std::uint64_t queue_driver = 0;
  std::uint64_t queue_device = 0;
  std::uint16_t queue_notify_data = 0;  // with VIRTIO_F_NOTIF_CONFIG_DATA
  std::uint16_t queue_reset = 0;        // with VIRTIO_F_RING_RESET
  std::uint32_t end = 0;
};
static_assert(sizeof(VirtioPciCommon) == 64);
static_assert(offsetof(VirtioPciCommon, device_status) == 20 &&
              offsetof(VirtioPciCommon, queue_select) == 22);
static_assert(offsetof(VirtioPciCommon, queue_desc) == 32 && offsetof(VirtioPciCommon, queue_reset) == 58);

inline constexpr std::uint16_t virtio_msi_no_vector = 0xffff;

// 4.1.4.5.
namespace virtio_pci_isr {
inline constexpr std::uint8_t queue = 1;
inline constexpr std::uint8_t config = 2;
}  // namespace virtio_pci_isr

// 4.1.4.10: the legacy interface, ports from BAR 0 on.
namespace virtio_pci_legacy {
inline constexpr std::uint32_t device_features = 0;
inline constexpr std::uint32_t driver_features = 4;
inline constexpr std::uint32_t queue_address = 8;  // in pages of 4 KiB
inline constexpr std::uint32_t queue_size = 12;
inline constexpr std::uint32_t queue_select = 14;
inline constexpr std::uint32_t queue_notify = 16;
inline constexpr std::uint32_t device_status = 18;
inline constexpr std::uint32_t isr = 19;
inline constexpr std::uint32_t config_msix_vector = 20;  // with MSI-X enabled only, as the next
inline constexpr std::uint32_t queue_msix_vector = 22;
inline constexpr std::uint32_t device_config = 20;
inline constexpr std::uint32_t device_config_with_msix = 24;
inline constexpr unsigned queue_address_shift = 12;
inline constexpr std::uint64_t queue_align = 4096;
}  // namespace virtio_pci_legacy

}  // namespace cbit::spec
