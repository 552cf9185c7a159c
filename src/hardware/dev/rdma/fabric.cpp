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
  while (!frames_.empty()) {
    std::swap(frames_, in_delivery_);
    for (const Frame& frame : in_delivery_) deliver(frame);
    in_delivery_.clear();
  }
  running_ = false;
}

void Fabric::deliver(const Frame& frame) {
  if (frame.destination == 0 || frame.destination > ports_.size()) return;
  FabricPort* const port = ports_[frame.destination - 1];
  if (port == nullptr) return;
  ++delivered_;
  port->receive(frame);
}

}  // namespace cbit::dev::rdma
