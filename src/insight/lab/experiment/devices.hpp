// The kinds of devices, as a table. To add one: a row in a file devices_*.cpp, and its function, which reads
// the keys and says how the device is made.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "lab/experiment.hpp"
#include "lab/experiment/table_reader.hpp"

namespace cbit::lab {

struct DeviceKind {
  std::string_view name;                   // value of the key `kind`
  std::span<const std::string_view> keys;  // besides the common ones
  OrError<void> (*parse)(const TableReader&, const ExperimentLimits&, ExperimentDevice&);
};

inline constexpr std::string_view common_device_keys[] = {"name", "kind"};

inline constexpr std::string_view dma_kind = "dma";  // unless a kind is given
inline constexpr std::string_view gpu_kind = "gpu";
inline constexpr std::string_view virtio_blk_kind = "virtio-blk";
inline constexpr std::string_view virtio_iommu_kind = "virtio-iommu";
inline constexpr std::string_view virtio_net_kind = "virtio-net";
inline constexpr std::string_view virtio_rng_kind = "virtio-rng";

[[nodiscard]] std::span<const DeviceKind> dma_devices();
[[nodiscard]] std::span<const DeviceKind> virtio_devices();
[[nodiscard]] std::span<const DeviceKind> rdma_devices();
[[nodiscard]] std::span<const DeviceKind> gpu_devices();
[[nodiscard]] std::span<const DeviceKind> viommu_devices();
[[nodiscard]] std::span<const DeviceKind> virtio_net_devices();

// All of them, in the order of the documentation.
[[nodiscard]] const std::vector<DeviceKind>& device_kinds();

}  // namespace cbit::lab
