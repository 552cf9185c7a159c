#include "facts/virtio.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/words.hpp"

namespace cbit::facts {
namespace {

constexpr std::size_t virtio_devices_max = 4096;

// virtio 1.2, 5.
constexpr Word<std::uint32_t> kinds[] = {
    {"network card", 1},   {"block device", 2},   {"console", 3},        {"entropy source", 4},
    {"balloon", 5},        {"SCSI host", 8},      {"9P transport", 9},   {"GPU", 16},
    {"input device", 18},  {"socket device", 19}, {"crypto device", 20}, {"IOMMU", 23},
    {"memory device", 24}, {"sound device", 25},  {"file system", 26},   {"PMEM device", 27}};

std::optional<std::uint64_t> hex_file(const HostTree& tree, const std::string& path) {
  const auto text = tree.read(path);
  return text ? hexadecimal(trimmed(*text)) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_features(std::string_view text) {
  text = trimmed(text);
  if (text.empty() || text.find_first_not_of("01") != std::string_view::npos) return std::nullopt;
  std::uint64_t bits = 0;
  for (std::size_t n = 0; n < text.size() && n < 64; ++n)
    if (text[n] == '1') bits |= std::uint64_t{1} << n;
  return bits;
}

std::string virtio_kind(std::uint32_t id) {
  const std::string_view word = word_of(kinds, id);
  return word == "?" ? fmt::format("device {}", id) : std::string{word};
}

std::string virtio_driver(const VirtioDeviceFacts& device) {
  constexpr std::uint32_t file_system = 26;
  if (!device.driver.empty()) return device.driver;
  return device.id == file_system ? "virtiofs" : "";
}

std::vector<VirtioDeviceFacts> read_virtio(const HostTree& tree) {
  const std::string folder = "/sys/bus/virtio/devices";
  std::vector<VirtioDeviceFacts> devices;
  for (const std::string& name : tree.list(folder).value_or(std::vector<std::string>{})) {
    if (devices.size() == virtio_devices_max) break;
    const std::string path = folder + "/" + name;
    VirtioDeviceFacts device{.name = printable(name, 40)};
    device.id = static_cast<std::uint32_t>(hex_file(tree, path + "/device").value_or(0));
    device.driver = printable(tree.link(path + "/driver").value_or(std::string{}), 40);
    device.features = parse_features(tree.read(path + "/features").value_or(std::string{}));
    device.status = hex_file(tree, path + "/status");
    devices.push_back(std::move(device));
  }
  return devices;
}

}  // namespace cbit::facts
