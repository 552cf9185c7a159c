// A network of the host's that a network device is connected to, as a BlockBackend is what a disk's bytes are
// kept in. net/ has those that there are.
//
// What comes for the device waits here until the device takes it, in a bounded queue; what finds that full is
// lost, as on any wire. Time here is the host's. Threading: one thread, that of the machine.
#pragma once

#include <deque>

#include "dev/host_side.hpp"
#include "dev/net_end.hpp"

namespace cbit::dev {

class NetBackend : public NetEnd, public HostSide {
 public:
  static constexpr std::size_t waiting_max = 1024;  // frames

  // The device's end, which is told off by nullptr before it ends.
  void connect(NetEnd* device) { device_ = device; }
  [[nodiscard]] bool in_use() const final { return device_ != nullptr && device_->is_up(); }

  void has_room() final { deliver(); }

 protected:
  // For the device; longer frames than tagged_frame_max are lost.
  void send(ConstByteSpan frame);
  void deliver();
  [[nodiscard]] bool is_full() const { return waiting_.size() >= waiting_max; }

 private:
  NetEnd* device_ = nullptr;
  std::deque<Bytes> waiting_;
  bool delivering_ = false;
};

// What a network device is told, whatever its kind.
struct NetOptions {
  std::optional<MacAddress> mac;  // nullopt: default_mac
  NetBackend* network = nullptr;  // what it is connected to, which outlives it; nullptr: nothing
};

}  // namespace cbit::dev
