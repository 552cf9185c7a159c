// A device that lies: what stands between a device and what it tells its driver when its host is hostile.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstdint>

#include "bus/dma_port.hpp"

namespace cbit::dev {

// What a device tells the driver of a buffer, or of a command, that it is done with.
struct Returned {
  std::uint16_t id = 0;  // virtio: the buffer's head; NVMe: the command's identifier; e1000: the descriptor
  std::uint32_t length = 0;  // virtio, e1000: bytes written; NVMe: how far it has read the submission queue
};

class Forger {
 public:
  virtual ~Forger() = default;
  // May change what the driver is told. True: it is told twice; e1000: the next descriptor's, too.
  virtual bool forge(Returned& told) = 0;
};

class ForgeableDevice {
 public:
  virtual ~ForgeableDevice() = default;
  // Lies from now on; nullptr: does not.
  virtual void set_forger(Forger* forger) = 0;
  [[nodiscard]] virtual bus::DmaPort& port() = 0;
};

}  // namespace cbit::dev
