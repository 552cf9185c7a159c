// The device's side of a split virtqueue. VIRTIO 1.2, 2.7. Internal to the room.
#pragma once

#include <memory>

#include "dev/virtio/ring.hpp"

namespace cbit::dev {

class SplitRing final : public VirtRing {
 public:
  // Trouble: an area that is not aligned (2.7: 16, 2 and 4 bytes) or ends beyond the address space, a size
  // that is no power of two.
  static OrTrouble<std::unique_ptr<VirtRing>> create(bus::DmaPort& port, const VirtQueueConfig& config,
                                                     const VirtRingFeatures& features);

  OrTrouble<std::uint16_t> available() override;
  OrTrouble<VirtChain> pop() override;
  OrTrouble<void> push(const VirtChain& chain, std::uint32_t written) override;
  OrTrouble<bool> finish() override;
  void transfer(StateStream& s) override { s(last_avail_, used_, signalled_); }

 private:
  using VirtRing::VirtRing;
  struct Table;
  OrTrouble<Table> enter_indirect(const Table& from, const spec::VringDesc& desc) const;

  std::uint16_t last_avail_ = 0;
  std::uint16_t used_ = 0;
  std::uint16_t signalled_ = 0;  // used_ when finish() was called last
};

}  // namespace cbit::dev
