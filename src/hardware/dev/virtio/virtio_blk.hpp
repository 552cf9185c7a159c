// A virtio block device with one request queue. VIRTIO 1.2, 5.2.
//
// A request with a header or a status byte missing stops the device; any other mistake is answered in the
// status: IOERR for a bad range or a failure of the disk, UNSUPP for what is not offered. Framing is free:
// header, data and status may be cut into descriptors anywhere (2.7.4).
//
// Emits VirtioRequest per request.
#pragma once

#include <memory>
#include <string>

#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_device.hpp"
#include "spec/virtio_blk.hpp"

namespace cbit::dev {

struct VirtioBlkOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 256;  // a power of two, at least 4
  std::uint32_t blk_size = 512;    // logical block: a power of two from 512 to 4096
  std::uint32_t seg_max =
      254;  // data segments of a request: header and status take two of the queue; 0: not offered
  std::uint32_t size_max = 0;  // bytes of a data segment; 0: not offered
  bool flush = true;
  bool discard = true;
  bool write_zeroes = true;
  std::string serial;  // at most 20 bytes
};

class VirtioBlk final : public VirtioDevice {
 public:
  // Errors (usage): an option out of its range; a disk that is not whole logical blocks; iommu_platform on a
  // legacy device, which has no bit 33.
  static OrError<std::unique_ptr<VirtioBlk>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                    BlockBackend& disk, const VirtioBlkOptions& options);

  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_block; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  // The disk is the host's.
  void transfer_type(StateStream&) override {}

 private:
  struct Request;

  VirtioBlk(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk,
            const VirtioBlkOptions& options);

  OrTrouble<std::uint32_t> handle(const VirtChain& chain);
  OrTrouble<std::uint8_t> execute(Request& request);
  OrTrouble<std::uint8_t> read(Request& request);
  OrTrouble<std::uint8_t> write(Request& request);
  std::uint8_t flush();
  OrTrouble<std::uint8_t> give_id(Request& request);
  OrTrouble<std::uint8_t> zero(Request& request);
  std::uint8_t zero_range(std::uint32_t type, const spec::VirtioBlkRange& range);

  [[nodiscard]] bool transfer_allowed(const Request& request) const;
  [[nodiscard]] bool in_range(std::uint64_t sector, std::uint64_t sectors) const;

  BlockBackend* disk_;
  VirtioBlkOptions options_;
  spec::VirtioBlkConfig config_;
  Bytes bounce_;
};

}  // namespace cbit::dev
