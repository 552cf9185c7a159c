#include "lab/experiment/devices.hpp"

namespace cbit::lab {

const std::vector<DeviceKind>& device_kinds() {
  static const std::vector<DeviceKind> all = [] {
    std::vector<DeviceKind> kinds;
    for (const auto some : {dma_devices(), virtio_devices(), viommu_devices(), virtio_net_devices(),
                            rdma_devices(), gpu_devices()})
      kinds.insert(kinds.end(), some.begin(), some.end());
    return kinds;
  }();
  return all;
}

}  // namespace cbit::lab
