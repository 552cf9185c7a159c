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
              [this](PortAddress to, UnfilledBytes packet) {
                fabric_->send({.source = address_, .destination = to, .packet = std::move(packet)});
              }} {}

RdmaNic::~RdmaNic() { fabric_->detach(address_); }

}  // namespace cbit::dev::rdma
