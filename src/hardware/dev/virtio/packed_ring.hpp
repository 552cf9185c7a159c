// The device's side of a packed virtqueue. VIRTIO 1.2, 2.8. Internal to the room.
//
// One ring of descriptors that both sides write: the driver marks one available, the device overwrites it
// when it is used. Whose turn it is follows from two bits and a wrap counter on each side. Used in order,
// which VIRTIO_F_IN_ORDER demands and nothing forbids.
#pragma once

#include <memory>

#include "dev/virtio/ring.hpp"

namespace cbit::dev {

class PackedRing final : public VirtRing {
 public:
  // Trouble: an area that is not aligned (2.8: 16, 4 and 4 bytes) or ends beyond the address space.
  static OrTrouble<std::unique_ptr<VirtRing>> create(bus::DmaPort& port, const VirtQueueConfig& config,
                                                     const VirtRingFeatures& features);

  OrTrouble<std::uint16_t> available() override;
  OrTrouble<VirtChain> pop() override;
  OrTrouble<void> push(const VirtChain& chain, std::uint32_t written) override;
  OrTrouble<bool> finish() override;
  void transfer(StateStream& s) override;

 private:
  using VirtRing::VirtRing;
  [[nodiscard]] DmaAddr slot(std::uint32_t index) const {
    return config_.descriptors + spec::VringAreas::desc(index);
  }
  OrTrouble<void> append_indirect(VirtChain& chain, const spec::PackedDesc& desc);

  spec::PackedPlace next_avail_, next_used_;
  std::uint32_t pushed_ = 0;  // descriptors, since finish() was called last
};

}  // namespace cbit::dev
