// A virtio entropy device. VIRTIO 1.2, 5.4. Its entropy is a generator with a seed, so a run can be repeated.
//
// A buffer that the device should read stops it. Threading: one thread.
#pragma once

#include <memory>

#include "base/random.hpp"
#include "dev/virtio/virtio_device.hpp"

namespace cbit::dev {

inline constexpr std::uint16_t virtio_id_rng = 4;

struct VirtioRngOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 8;  // a power of two
  std::uint64_t seed = 1;
};

class VirtioRng final : public VirtioDevice {
 public:
  // Errors (usage): options that contradict each other, a queue size that is no power of two.
  static OrError<std::unique_ptr<VirtioRng>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                    const VirtioRngOptions& options);
  [[nodiscard]] std::uint16_t device_id() const override { return virtio_id_rng; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return {}; }
  void transfer_type(StateStream& s) override { s(random_); }

 private:
  VirtioRng(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioRngOptions& options);
  OrTrouble<std::uint32_t> fill(const VirtChain& chain);

  Random random_;
};

}  // namespace cbit::dev
