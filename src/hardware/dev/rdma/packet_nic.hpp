// A plain network adapter: it sends what lies in memory and puts what it receives into buffers that its
// driver has posted. Software RDMA runs over one.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <span>

#include "bus/dma_port.hpp"
#include "dev/rdma/fabric.hpp"

namespace cbit::dev::rdma {

class PacketNic final : public FabricPort {
 public:
  // `received(source, bytes)` stands for the receive interrupt: the oldest buffer holds so many bytes.
  using Received = std::function<void(PortAddress source, std::uint64_t bytes)>;

  PacketNic(bus::SystemBus& bus, bus::DmaPortConfig config, Fabric& fabric);
  ~PacketNic() override;
  PacketNic(const PacketNic&) = delete;
  PacketNic& operator=(const PacketNic&) = delete;

  [[nodiscard]] PortAddress address() const { return address_; }
  [[nodiscard]] bus::DmaPort& port() { return port_; }
  void on_received(Received received) { received_ = std::move(received); }
  void post_receive(DmaAddr at, std::uint64_t bytes) { buffers_.push_back({at, bytes}); }
  // Fault: what the bus says; nothing is sent then.
  Result<void> transmit(PortAddress to, DmaAddr from, std::uint64_t bytes);
  // Frames without a buffer, or that do not fit into one, are lost.
  void receive(std::span<const Frame> frames) override;

 private:
  struct Buffer {
    DmaAddr at;
    std::uint64_t bytes = 0;
  };
  void receive_one(const Frame& frame);

  bus::DmaPort port_;
  Fabric* fabric_;
  PortAddress address_;
  Received received_;
  std::deque<Buffer> buffers_;
};

}  // namespace cbit::dev::rdma
