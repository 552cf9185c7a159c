#include "dev/rdma/fabric.hpp"

#include <algorithm>
#include <utility>

namespace cbit::dev::rdma {

PortAddress Fabric::attach(FabricPort& port) {
  ports_.push_back(&port);
  return static_cast<PortAddress>(ports_.size());
}

void Fabric::detach(PortAddress address) {
  if (address != 0 && address <= ports_.size()) ports_[address - 1] = nullptr;
}

void Fabric::run() {
  if (std::exchange(running_, true)) return;
  while (!frames_.empty()) {
    std::swap(frames_, in_delivery_);
    for (std::span<const Frame> left = in_delivery_; !left.empty();) {
      const auto other = std::ranges::find_if_not(left, [&](const Frame& frame) {
        return frame.source == left.front().source && frame.destination == left.front().destination;
      });
      const auto together = static_cast<std::size_t>(other - left.begin());
      deliver(left.first(together));
      left = left.subspan(together);
    }
    in_delivery_.clear();
  }
  running_ = false;
}

void Fabric::deliver(std::span<const Frame> frames) {
  const PortAddress destination = frames.front().destination;
  if (destination == 0 || destination > ports_.size()) return;
  FabricPort* const port = ports_[destination - 1];
  if (port == nullptr) return;
  delivered_ += frames.size();
  port->receive(frames);
}

}  // namespace cbit::dev::rdma
