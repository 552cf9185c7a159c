// What is behind a device and lives in the host's time: a network, sockets.
//
// Threading: one thread, that of the machine.
#pragma once

#include "os/poll_set.hpp"

namespace cbit::dev {

class HostSide {
 public:
  virtual ~HostSide() = default;
  // There is a device with a driver.
  [[nodiscard]] virtual bool in_use() const = 0;
  // Whenever the machine has time for it: what to wait for, and how long at most; and what to do once
  // somebody has waited.
  virtual void prepare(os::PollSet& set) = 0;
  virtual void serve(const os::PollSet& set) = 0;
};

}  // namespace cbit::dev
