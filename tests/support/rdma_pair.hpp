// Two transport engines on one fabric, each with flat memory of its own, and a connected pair of queue pairs.
#pragma once

#include <algorithm>
#include <cerrno>

#include "base/assert.hpp"
#include "dev/rdma/engine.hpp"

namespace cbit::dev::rdma {

struct QpAddress {
  PortAddress port = 0;
  std::uint32_t qp = 0;
};

// INIT, RTR, RTS with the attributes that each needs.
inline void connect_qp(Engine& engine, std::uint32_t qp, QpAddress peer, ibv_mtu mtu,
                       std::uint8_t responder_resources = 4, std::uint32_t rq_psn = 0) {
  ibv_qp_attr attr{
      .qp_state = IBV_QPS_INIT,
      .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC};
  CBIT_ASSERT(
      engine.modify_qp(qp, attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
  attr.qp_state = IBV_QPS_RTR;
  attr.ah_attr = peer.port;
  attr.dest_qp_num = peer.qp;
  attr.path_mtu = mtu;
  attr.max_dest_rd_atomic = responder_resources;
  attr.rq_psn = rq_psn;
  CBIT_ASSERT(engine.modify_qp(qp, attr,
                               IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                   IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
  attr.qp_state = IBV_QPS_RTS;
  attr.max_rd_atomic = 4;
  CBIT_ASSERT(engine.modify_qp(qp, attr,
                               IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                   IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
}

class RdmaSide final : public FabricPort {
 public:
  static constexpr std::uint64_t arena_bytes = 64 * 1024;
  static constexpr std::uint64_t ring_at = arena_bytes;  // behind what regions cover
  static constexpr std::uint32_t cq_entries = 8;
  static constexpr std::uint32_t pd = 1;

  explicit RdmaSide(Fabric& fabric)
      : memory{arena_bytes + cq_entries * sizeof(Cqe)},
        address{fabric.attach(*this)},
        engine{memory,
               tracer,
               {},
               [this, &fabric](PortAddress to, const Packet& packet, mem::Snapshot&& payload) {
                 fabric.send(address, to, packet, std::move(payload));
               }} {
    cq = engine.create_cq(cq_entries, {{ring_at, cq_entries * sizeof(Cqe)}}).value();
    qp = engine.create_qp({.type = IBV_QPT_RC, .pd = pd, .send_cq = cq, .recv_cq = cq, .cap = {}}).value();
  }

  void receive(std::span<const Frame> frames) override {
    while (!frames.empty()) frames = frames.subspan(engine.receive(frames));
  }

  void connect(const RdmaSide& peer, ibv_mtu mtu = IBV_MTU_256, std::uint8_t responder_resources = 4) {
    connect_qp(engine, qp, {peer.address, peer.qp}, mtu, responder_resources);
  }

  // The completions since the last call.
  std::vector<Cqe> poll() {
    std::vector<Cqe> found;
    for (;; ++consumed) {
      const auto cqe = load<Cqe>(memory.bytes, ring_at + consumed % cq_entries * sizeof(Cqe));
      if (cqe.generation != consumed / cq_entries + 1) break;
      found.push_back(cqe);
    }
    engine.consumed(cq, consumed);
    return found;
  }

  struct Flat final : RegionMemory {
    explicit Flat(std::uint64_t size) : bytes(size) {}
    Result<void> read(std::uint64_t at, ByteSpan to) override {
      if (at > bytes.size() || to.size() > bytes.size() - at) return fault(FaultKind::no_memory, at);
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
      return {};
    }
    Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override {
      if (at > bytes.size() || from.size() > bytes.size() - at) return tl::unexpected{std::uint64_t{0}};
      std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at));
      return {};
    }
    Bytes bytes;
  };

  Clock clock;
  Tracer tracer{clock};
  Flat memory;
  PortAddress address;
  Engine engine;
  std::uint32_t cq = 0, qp = 0;
  std::uint64_t consumed = 0;
};

}  // namespace cbit::dev::rdma
