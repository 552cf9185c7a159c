// The other end for a lab file: a host without encryption, whose NIC is connected to a queue pair under test
// and does what the experiment says, right or wrong.
#pragma once

#include "dev/rdma/engine.hpp"

namespace cbit::testbed {

class RdmaPeer final : public dev::rdma::FabricPort {
 public:
  static constexpr std::uint64_t memory_bytes = 1 << 20;

  explicit RdmaPeer(dev::rdma::Fabric& fabric);
  ~RdmaPeer() override;
  RdmaPeer(const RdmaPeer&) = delete;
  RdmaPeer& operator=(const RdmaPeer&) = delete;

  [[nodiscard]] dev::rdma::PortAddress address() const { return address_; }
  [[nodiscard]] std::uint32_t qp() const { return qp_; }
  [[nodiscard]] std::uint32_t rkey() const { return key_; }
  // To RTS, towards that queue pair.
  void connect(dev::rdma::PortAddress port, std::uint32_t qp, ibv_mtu mtu = IBV_MTU_4096);

  // Performs a request on `bytes` bytes of its memory from offset 0, at most memory_bytes, to its completion.
  ibv_wc_status request(ibv_wr_opcode opcode, std::uint64_t remote, std::uint32_t rkey, std::uint64_t bytes);
  // IBV_WR_ATOMIC_*: what was there comes to offset 0 of its memory.
  struct Atomic {
    ibv_wr_opcode opcode{};
    std::uint64_t compare_add = 0;
    std::uint64_t swap = 0;
  };
  ibv_wc_status atomic(const Atomic& request, std::uint64_t remote, std::uint32_t rkey);
  // Anything, as if it were a packet.
  void send_raw(dev::rdma::PortAddress to, ConstByteSpan packet);
  [[nodiscard]] ByteSpan memory() { return memory_.bytes; }
  void receive(std::span<const dev::rdma::Frame> frames) override {
    while (!frames.empty()) frames = frames.subspan(engine_.receive(frames));
  }

 private:
  ibv_wc_status perform(const ibv_send_wr& wr);

  struct Flat final : dev::rdma::RegionMemory {
    Result<void> read(std::uint64_t at, ByteSpan to) override;
    Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override;
    Bytes bytes = Bytes(memory_bytes);
    Bytes ring;  // of the completion queue, behind the memory
  };

  dev::rdma::Fabric* fabric_;
  Flat memory_;
  Clock clock_;
  Tracer tracer_{clock_};
  dev::rdma::PortAddress address_;
  dev::rdma::Engine engine_;
  std::uint32_t key_ = 0, cq_ = 0, qp_ = 0;
  std::uint64_t consumed_ = 0;
};

}  // namespace cbit::testbed
