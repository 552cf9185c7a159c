// The virtio network and entropy devices of a run.
#pragma once

#include <map>
#include <memory>

#include "kernel/virtio/virtio_net_driver.hpp"
#include "kernel/virtio/virtio_rng_driver.hpp"

namespace cbit::lab {

struct VirtioNetPart {
  struct Nic {
    kernel::Device* parent = nullptr;
    kernel::VirtioDriverOptions driver_options;
    std::unique_ptr<dev::VirtioNet> hardware;
    std::unique_ptr<kernel::VirtioNetDriver> driver;  // nullptr: not probed, or the probe failed
  };
  struct Rng {
    kernel::Device* parent = nullptr;
    kernel::VirtioDriverOptions driver_options;
    std::unique_ptr<dev::VirtioRng> hardware;
    std::unique_ptr<kernel::VirtioRngDriver> driver;
  };
  std::map<std::size_t, Nic> nics;  // by device id
  std::map<std::size_t, Rng> rngs;
};

}  // namespace cbit::lab
