// The network between RDMA NICs: ports with addresses, and frames from one to another. NICs of one machine,
// or of several, hang on one fabric.
//
// Frames are delivered in the order in which they were sent, none is lost or altered, and nothing else
// happens meanwhile: a run is the same every time. Threading: one thread for all machines of a fabric.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dev/rdma/wire.hpp"

namespace cbit::dev::rdma {

// Stands for a GID, and for the Ethernet, IP and UDP headers that lead to it. 0: nobody's.
using PortAddress = std::uint32_t;

struct Frame {
  PortAddress source = 0;
  PortAddress destination = 0;
  WirePacket packet;
};

class FabricPort {
 public:
  virtual ~FabricPort() = default;
  // One or more from the same sender, in the order in which they were sent.
  virtual void receive(std::span<const Frame> frames) = 0;
};

class Fabric {
 public:
  // The port's address: 1, 2, ... in the order of the calls. The port outlives the fabric's use, or detaches.
  PortAddress attach(FabricPort& port);
  void detach(PortAddress address);

  // Queues; frames to nobody are dropped on delivery.
  void send(PortAddress source, PortAddress destination, WirePacket&& packet) {
    frames_.emplace_back(source, destination, std::move(packet));
  }
  void send(PortAddress source, PortAddress destination, const Packet& packet, mem::Snapshot&& payload) {
    frames_.emplace_back(source, destination).packet.put(packet, std::move(payload));
  }
  // Delivers until no frame is left, including those sent meanwhile. A call from within does nothing.
  void run();

  [[nodiscard]] std::uint64_t frames_delivered() const { return delivered_; }

 private:
  void deliver(std::span<const Frame> frames);

  std::vector<FabricPort*> ports_;
  std::vector<Frame> frames_;       // sent, in this order
  std::vector<Frame> in_delivery_;  // before them; kept for its room
  std::uint64_t delivered_ = 0;
  bool running_ = false;
};

}  // namespace cbit::dev::rdma
