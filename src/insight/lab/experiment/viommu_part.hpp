// The virtio-iommu of a run.
#pragma once

#include <memory>

#include "dev/virtio/virtio_iommu.hpp"
#include "kernel/virtio/virtio_iommu_driver.hpp"

namespace cbit::lab {

struct ViommuPart {
  kernel::Device* parent = nullptr;
  kernel::VirtioDriverOptions driver_options;
  std::unique_ptr<dev::VirtioIommu> hardware;
  std::unique_ptr<kernel::VirtioIommuDriver> driver;  // nullptr: not probed, or the probe failed
};

}  // namespace cbit::lab
