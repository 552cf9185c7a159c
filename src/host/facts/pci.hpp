// The PCI devices, as far as their DMA is concerned (/sys/bus/pci/devices).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "facts/host_tree.hpp"

namespace cbit::facts {

struct PciDevice {
  std::string address;           // "0000:41:00.0"
  std::uint32_t class_code = 0;  // class, subclass, programming interface: 0x010802
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::string driver;                          // empty: none is bound
  std::optional<unsigned> mask_bits;           // dma_mask_bits, of the streaming mask
  std::optional<unsigned> coherent_mask_bits;  // consistent_dma_mask_bits
  std::string iommu_group;                     // empty: in none
  bool removable = false;                      // behind an external-facing port, as untrusted devices are
  // What its driver made of it, with the folder's name: "nvme" nvme0, "net" eth0, "drm" card0,
  // "infiniband" mlx5_0.
  std::vector<std::string> nvme, net, drm, infiniband;
  std::string virtio;  // "virtio0"; empty: no virtio device

  [[nodiscard]] bool is_bridge() const { return class_code >> 16 == 0x06; }
  [[nodiscard]] bool is_display() const { return class_code >> 16 == 0x03; }
  [[nodiscard]] bool is_nvme() const { return class_code >> 8 == 0x0108; }
};

inline constexpr std::size_t pci_devices_max = 4096;

// In order of address; devices beyond the maximum are left out, and files that make no sense.
[[nodiscard]] std::vector<PciDevice> read_pci(const HostTree& tree);

}  // namespace cbit::facts
