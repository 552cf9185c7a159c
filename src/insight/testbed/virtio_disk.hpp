// A virtio disk with its driver, and a virtio-iommu with its own, as `explain`, the experiments and the table
// of mixed fleets plug them in. The Testbed outlives both.
#pragma once

#include <memory>
#include <string>

#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "dev/virtio/virtio_iommu.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"
#include "kernel/virtio/virtio_iommu_driver.hpp"
#include "testbed/testbed.hpp"

namespace cbit::testbed {

struct VirtioDiskConfig {
  std::string name = "vda";
  std::uint64_t bytes = 64 * 1024;  // whole sectors
  dev::VirtioOptions hardware;
  kernel::VirtioDriverOptions driver;
};

class VirtioDisk {
 public:
  // Errors (usage): what VirtioBlk::create() says of options that contradict each other.
  static OrError<std::unique_ptr<VirtioDisk>> create(Testbed& bed, const VirtioDiskConfig& config);

  // Binds the driver. -EBUSY: one is bound; else what VirtioBlkDriver::probe() says.
  Result<void, kernel::Errno> probe();
  void remove() { driver_.reset(); }

  [[nodiscard]] kernel::Device& parent() { return *parent_; }
  [[nodiscard]] dev::MemoryDisk& medium() { return medium_; }
  [[nodiscard]] const dev::MemoryDisk& medium() const { return medium_; }
  [[nodiscard]] dev::VirtioBlk& hardware() { return *hardware_; }
  [[nodiscard]] const dev::VirtioBlk& hardware() const { return *hardware_; }
  // nullptr: not probed, or the probe failed.
  [[nodiscard]] kernel::VirtioBlkDriver* driver() { return driver_.get(); }

 private:
  VirtioDisk(Testbed& bed, const VirtioDiskConfig& config, kernel::Device& parent)
      : bed_{&bed}, options_{config.driver}, parent_{&parent}, medium_{Bytes(config.bytes)} {}

  Testbed* bed_;
  kernel::VirtioDriverOptions options_;
  kernel::Device* parent_;
  dev::MemoryDisk medium_;
  std::unique_ptr<dev::VirtioBlk> hardware_;
  std::unique_ptr<kernel::VirtioBlkDriver> driver_;
};

// In front of all devices of a machine that is configured for one (MachineConfig::virtio_iommu).
class GuestViommu {
 public:
  // `probes`: the guest has a driver for it. Without, its devices stay in no domain.
  static OrError<std::unique_ptr<GuestViommu>> create(Testbed& bed, bool boot_bypass, bool probes);

  // The devices' mappings go before.
  void remove() { driver_.reset(); }

 private:
  GuestViommu() = default;
  std::unique_ptr<dev::VirtioIommu> hardware_;
  std::unique_ptr<kernel::VirtioIommuDriver> driver_;
};

}  // namespace cbit::testbed
