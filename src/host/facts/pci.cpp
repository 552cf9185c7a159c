#include "facts/pci.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace cbit::facts {
namespace {

std::uint64_t hex_file(const HostTree& tree, const std::string& path, std::uint64_t max) {
  const auto text = tree.read(path);
  const auto value = text ? hexadecimal(trimmed(*text)) : std::nullopt;
  return value && *value <= max ? *value : 0;
}

std::optional<unsigned> bits_file(const HostTree& tree, const std::string& path) {
  const auto text = tree.read(path);
  const auto value = text ? decimal(trimmed(*text)) : std::nullopt;
  if (!value || *value < 1 || *value > 64) return std::nullopt;
  return static_cast<unsigned>(*value);
}

std::vector<std::string> children(const HostTree& tree, const std::string& folder,
                                  const std::vector<std::string>& entries, const std::string& name) {
  if (!std::ranges::binary_search(entries, name)) return {};
  std::vector<std::string> names = tree.list(folder + "/" + name).value_or(std::vector<std::string>{});
  for (std::string& child : names) child = printable(child, 40);
  return names;
}

PciDevice read_device(const HostTree& tree, const std::string& address) {
  const std::string folder = "/sys/bus/pci/devices/" + address;
  PciDevice device{.address = printable(address, 40)};
  device.class_code = static_cast<std::uint32_t>(hex_file(tree, folder + "/class", 0xff'ffff));
  device.vendor = static_cast<std::uint16_t>(hex_file(tree, folder + "/vendor", 0xffff));
  device.device = static_cast<std::uint16_t>(hex_file(tree, folder + "/device", 0xffff));
  device.driver = printable(tree.link(folder + "/driver").value_or(std::string{}), 40);
  device.mask_bits = bits_file(tree, folder + "/dma_mask_bits");
  device.coherent_mask_bits = bits_file(tree, folder + "/consistent_dma_mask_bits");
  device.iommu_group = printable(tree.link(folder + "/iommu_group").value_or(std::string{}), 40);
  device.removable = trimmed(tree.read(folder + "/removable").value_or(std::string{})) == "removable";
  const auto entries = tree.list(folder).value_or(std::vector<std::string>{});
  device.nvme = children(tree, folder, entries, "nvme");
  device.net = children(tree, folder, entries, "net");
  device.drm = children(tree, folder, entries, "drm");
  device.infiniband = children(tree, folder, entries, "infiniband");
  for (const std::string& entry : entries)
    if (entry.starts_with("virtio") && decimal(std::string_view{entry}.substr(6))) device.virtio = entry;
  return device;
}

// Class devices whose `device` link leads to the function, where its own folder does not name them.
void add_class(const HostTree& tree, const std::string& folder, std::vector<std::string> PciDevice::* names,
               std::vector<PciDevice>& devices) {
  for (const std::string& name : tree.list(folder).value_or(std::vector<std::string>{})) {
    const auto function = tree.link(folder + "/" + name + "/device");
    if (!function) continue;
    const auto device = std::ranges::find(devices, *function, &PciDevice::address);
    if (device == devices.end()) continue;
    std::vector<std::string>& known = (*device).*names;
    if (std::ranges::find(known, printable(name, 40)) == known.end()) known.push_back(printable(name, 40));
  }
}

}  // namespace

std::vector<PciDevice> read_pci(const HostTree& tree) {
  std::vector<PciDevice> devices;
  for (const std::string& address : tree.list("/sys/bus/pci/devices").value_or(std::vector<std::string>{}))
    if (devices.size() < pci_devices_max) devices.push_back(read_device(tree, address));
  add_class(tree, "/sys/class/drm", &PciDevice::drm, devices);
  add_class(tree, "/sys/class/infiniband", &PciDevice::infiniband, devices);
  return devices;
}

}  // namespace cbit::facts
