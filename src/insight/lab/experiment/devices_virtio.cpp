// virtio devices.
#include "lab/experiment/devices.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view keys_of_virtio_blk[] = {
    "size",     "access-platform", "acks-access-platform", "legacy",
    "indirect", "packed",          "restricted-check",     "raw-addresses"};

OrError<void> parse_virtio_blk(const TableReader& keys, const ExperimentLimits& limits,
                               ExperimentDevice& device) {
  device.disk_bytes = CBIT_TRY(keys.number("size", page_size, limits.bytes)).value_or(64 * 1024);
  if (device.disk_bytes % page_size != 0)
    return keys.error("size", "a disk has whole blocks", "use a multiple of 4K");
  testbed::VirtioDiskConfig disk{.name = device.name, .bytes = device.disk_bytes};
  dev::VirtioOptions& hardware = disk.hardware;
  hardware.iommu_platform = CBIT_TRY(keys.flag("access-platform")).value_or(true);
  hardware.legacy = CBIT_TRY(keys.flag("legacy")).value_or(false);
  hardware.indirect_desc = CBIT_TRY(keys.flag("indirect")).value_or(true);
  hardware.packed = CBIT_TRY(keys.flag("packed")).value_or(false);
  if (!CBIT_TRY(keys.flag("acks-access-platform")).value_or(true))
    disk.driver.refused_features = spec::virtio_feature::access_platform;
  disk.driver.restricted_access_check = CBIT_TRY(keys.flag("restricted-check")).value_or(true);
  disk.driver.raw_addresses = CBIT_TRY(keys.flag("raw-addresses")).value_or(false);
  if (hardware.legacy && hardware.iommu_platform)
    return keys.error("legacy", "a legacy device cannot offer VIRTIO_F_ACCESS_PLATFORM, which is bit 33",
                      "add access-platform = false");
  if (hardware.legacy && hardware.packed)
    return keys.error("packed", "a legacy device has no packed ring, which is bit 34", "leave out packed");
  device.install = [disk](Run& run, std::size_t id) { return run.install(id, disk); };
  return {};
}

constexpr DeviceKind virtio_device_kinds[] = {{virtio_blk_kind, keys_of_virtio_blk, parse_virtio_blk}};

}  // namespace

std::span<const DeviceKind> virtio_devices() { return virtio_device_kinds; }

}  // namespace cbit::lab
