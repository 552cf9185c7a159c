#include "testbed/virtio_disk.hpp"

#include "machine/slots.hpp"

namespace cbit::testbed {

OrError<std::unique_ptr<VirtioDisk>> VirtioDisk::create(Testbed& bed, const VirtioDiskConfig& config) {
  kernel::Device& parent = bed.kernel().add_device({.name = config.name});
  std::unique_ptr<VirtioDisk> disk{new VirtioDisk{bed, config, parent}};
  machine::DiskOptions options{.disk = &disk->medium_};
  options.device.virtio = config.hardware;
  disk->hardware_ = CBIT_TRY(machine::plug<dev::VirtioBlk>(
      bed.machine().bus(), "virtio-blk", {.name = config.name, .requester = parent.requester}, options));
  return disk;
}

Result<void, kernel::Errno> VirtioDisk::probe() {
  if (driver_ != nullptr) return tl::unexpected{kernel::Errno::ebusy};
  driver_ = CBIT_TRY(kernel::VirtioBlkDriver::probe(bed_->kernel(), *hardware_, *parent_, options_));
  return {};
}

OrError<std::unique_ptr<GuestViommu>> GuestViommu::create(Testbed& bed, bool boot_bypass, bool probes) {
  std::unique_ptr<GuestViommu> viommu{new GuestViommu};
  kernel::Device& parent = bed.kernel().add_device({.name = "viommu"});
  dev::VirtioIommuOptions options;
  options.boot_bypass = boot_bypass;
  viommu->hardware_ = CBIT_TRY(machine::plug<dev::VirtioIommu>(
      bed.machine().bus(), "virtio-iommu", {.name = "viommu", .requester = parent.requester}, options));
  if (!probes) return viommu;
  auto driver = kernel::VirtioIommuDriver::probe(bed.kernel(), *viommu->hardware_, parent);
  if (driver) viommu->driver_ = std::move(*driver);
  return viommu;
}

}  // namespace cbit::testbed
