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

namespace cbit {

struct VirtioDiskConfig {
  std::string name = "vda";
  std::uint64_t bytes = 64 * 1024;  // whole sectors
  VirtioOptions hardware;
  VirtioDriverOptions driver;
};

class VirtioDisk {
 public:
  // Errors (usage): what VirtioBlk::create() says of options that contradict each other.
  static OrError<std::unique_ptr<VirtioDisk>> create(Testbed& bed, const VirtioDiskConfig& config);

  // Binds the driver. -EBUSY: one is bound; else what VirtioBlkDriver::probe() says.
  Result<void, Errno> probe();
  void remove() { driver_.reset(); }

  [[nodiscard]] Device& parent() { return *parent_; }
  [[nodiscard]] MemoryDisk& medium() { return medium_; }
  [[nodiscard]] const MemoryDisk& medium() const { return medium_; }
  [[nodiscard]] VirtioBlk& hardware() { return *hardware_; }
  [[nodiscard]] const VirtioBlk& hardware() const { return *hardware_; }
  // nullptr: not probed, or the probe failed.
  [[nodiscard]] VirtioBlkDriver* driver() { return driver_.get(); }

 private:
  VirtioDisk(Testbed& bed, const VirtioDiskConfig& config, Device& parent)
      : bed_{&bed}, options_{config.driver}, parent_{&parent}, medium_{Bytes(config.bytes)} {}

  Testbed* bed_;
  VirtioDriverOptions options_;
  Device* parent_;
  MemoryDisk medium_;
  std::unique_ptr<VirtioBlk> hardware_;
  std::unique_ptr<VirtioBlkDriver> driver_;
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
  std::unique_ptr<VirtioIommu> hardware_;
  std::unique_ptr<VirtioIommuDriver> driver_;
};

}  // namespace cbit
