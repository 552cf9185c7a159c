#include "dev/rdma/packet_nic.hpp"

namespace cbit::dev::rdma {

PacketNic::PacketNic(bus::SystemBus& bus, bus::DmaPortConfig config, Fabric& fabric)
    : port_{bus, std::move(config)}, fabric_{&fabric}, address_{fabric.attach(*this)} {}

PacketNic::~PacketNic() { fabric_->detach(address_); }

Result<void> PacketNic::transmit(PortAddress to, DmaAddr from, std::uint64_t bytes) {
  UnfilledBytes packet(bytes);
  CBIT_TRY(port_.read(from, packet));
  fabric_->send(address_, to, WirePacket::of(std::move(packet)));
  return {};
}

void PacketNic::receive(std::span<const Frame> frames) {
  for (const Frame& frame : frames) receive_one(frame);
}

void PacketNic::receive_one(const Frame& frame) {
  const UnfilledBytes packet = frame.packet.joined();
  if (buffers_.empty() || buffers_.front().bytes < packet.size()) return;
  const Buffer buffer = buffers_.front();
  buffers_.pop_front();
  if (!port_.write(buffer.at, packet) || !received_) return;
  received_(frame.source, packet.size());
}

}  // namespace cbit::dev::rdma
