// A device that lies: what stands between a virtio device and the used ring when its host is hostile.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstdint>

namespace cbit::dev {

// What a device tells the driver of a buffer that it has used.
struct UsedElement {
  std::uint16_t head = 0;
  std::uint32_t written = 0;
};

class UsedForger {
 public:
  virtual ~UsedForger() = default;
  // May change what the driver is told. True: it is told twice.
  virtual bool forge(UsedElement& element) = 0;
};

}  // namespace cbit::dev
