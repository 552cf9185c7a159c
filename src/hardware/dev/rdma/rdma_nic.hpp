// An RDMA NIC: the transport engine, with a DmaPort to memory and a port of the fabric.
//
// Work requests come in through its doorbell page (they are written there, not fetched), completions go out
// to rings in memory by DMA. Threading: one thread.
#pragma once

#include <span>

#include "bus/dma_port.hpp"
#include "dev/rdma/engine.hpp"

namespace cbit::dev::rdma {

class RdmaNic final : public FabricPort {
 public:
  // `bus` and `fabric` outlive the NIC.
  RdmaNic(bus::SystemBus& bus, bus::DmaPortConfig config, Fabric& fabric, const ibv_device_attr& limits = {});
  ~RdmaNic() override;
  RdmaNic(const RdmaNic&) = delete;
  RdmaNic& operator=(const RdmaNic&) = delete;

  [[nodiscard]] PortAddress address() const { return address_; }
  [[nodiscard]] Engine& engine() { return engine_; }
  [[nodiscard]] bus::DmaPort& port() { return memory_.port; }
  void receive(std::span<const Frame> frames) override;

 private:
  struct DeviceMemory final : RegionMemory {
    DeviceMemory(bus::SystemBus& bus, bus::DmaPortConfig config) : port{bus, std::move(config)} {}
    Result<void> read(std::uint64_t at, ByteSpan to) override { return port.read(DmaAddr{at}, to); }
    Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override {
      if (!port.write(DmaAddr{at}, from)) return tl::unexpected{port.stopped_at() - DmaAddr{at}};
      return {};
    }
    Result<void> snapshot(std::uint64_t at, std::uint64_t bytes, mem::SnapshotQueue& to) override {
      return port.snapshot(DmaAddr{at}, bytes, to);
    }
    bus::DmaPort port;
  };

  DeviceMemory memory_;
  Fabric* fabric_;
  PortAddress address_;
  Engine engine_;
};

}  // namespace cbit::dev::rdma
