#include "dev/rdma/fabric.hpp"

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
  for (; !frames_.empty(); frames_.pop_front()) {
    const Frame& frame = frames_.front();  // stays in place while others are sent
    if (frame.destination == 0 || frame.destination > ports_.size()) continue;
    FabricPort* const port = ports_[frame.destination - 1];
    if (port == nullptr) continue;
    ++delivered_;
    port->receive(frame);
  }
  running_ = false;
}

}  // namespace cbit::dev::rdma
