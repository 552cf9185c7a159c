#include "dev/rdma/rdma_nic.hpp"

namespace cbit::dev::rdma {

RdmaNic::RdmaNic(bus::SystemBus& bus, bus::DmaPortConfig config, Fabric& fabric,
                 const ibv_device_attr& limits)
    : memory_{bus, std::move(config)},
      fabric_{&fabric},
      address_{fabric.attach(*this)},
      engine_{memory_,
              bus.tracer(),
              {memory_.port.name(), {AgentKind::device, memory_.port.config().requester}, limits},
              [this](PortAddress to, const Packet& packet, mem::Snapshot&& payload) {
                fabric_->send(address_, to, packet, std::move(payload));
              }} {}

RdmaNic::~RdmaNic() { fabric_->detach(address_); }

void RdmaNic::receive(std::span<const Frame> frames) {
  while (!frames.empty()) {
    // What came from this memory may be written to it.
    memory_.port.bus().memory().settle_snapshots();
    frames = frames.subspan(engine_.receive(frames));
  }
}

}  // namespace cbit::dev::rdma
