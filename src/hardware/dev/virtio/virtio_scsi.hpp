// A virtio SCSI host with one target, whose one logical unit, 0, is a disk. VIRTIO 1.2, 5.6.
//
// A request without room for its header or its response stops the device. Task management finds every task
// ended; there are no events, and what a driver offers for them stays its own.
#pragma once

#include <memory>
#include <string>

#include "dev/scsi/scsi_disk.hpp"
#include "dev/virtio/virtio_device.hpp"
#include "spec/virtio_scsi.hpp"

namespace cbit::dev {

struct VirtioScsiOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 128;  // a power of two, at least 4
  std::string serial;              // at most scsi_serial_bytes
};

class VirtioScsi final : public VirtioDevice {
 public:
  // Errors (usage): an option out of its range; those of check(VirtioOptions).
  static OrError<std::unique_ptr<VirtioScsi>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                     BlockBackend& disk, const VirtioScsiOptions& options);

  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_scsi; }
  // The sizes of a CDB and of sense data, as far as they have a bound.
  void write_config(std::uint32_t offset, ConstByteSpan from) override;

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override;
  // The disk is the host's; it has no state of its own between commands.
  void transfer_type(StateStream& s) override;

 private:
  VirtioScsi(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk,
             const VirtioScsiOptions& options);
  OrTrouble<std::uint32_t> command(const VirtChain& chain);
  OrTrouble<ScsiAnswer> run(ConstByteSpan cdb, const VirtChain& chain);
  OrTrouble<std::uint32_t> control(const VirtChain& chain);
  [[nodiscard]] std::uint64_t header_bytes() const {
    return spec::virtio_scsi_request_bytes + config_.cdb_size;
  }
  [[nodiscard]] std::uint64_t response_bytes() const {
    return sizeof(spec::VirtioScsiResponse) + config_.sense_size;
  }

  ScsiDisk disk_;
  spec::VirtioScsiConfig config_;
};

}  // namespace cbit::dev
