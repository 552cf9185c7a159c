#include "testbed/rdma/peer.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace cbit::testbed {
namespace {

constexpr std::uint32_t peer_cq_entries = 64;
constexpr std::uint32_t pd = 1;
constexpr unsigned peer_polls = 16;

}  // namespace

Result<void> RdmaPeer::Flat::read(std::uint64_t at, ByteSpan to) {
  const Bytes& from = at < memory_bytes ? bytes : ring;
  const std::uint64_t offset = at % memory_bytes;
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
  return {};
}

Result<void, std::uint64_t> RdmaPeer::Flat::write(std::uint64_t at, ConstByteSpan from) {
  Bytes& to = at < memory_bytes ? bytes : ring;
  const std::uint64_t offset = at % memory_bytes;
  std::ranges::copy(from, to.begin() + static_cast<std::ptrdiff_t>(offset));
  return {};
}

RdmaPeer::RdmaPeer(dev::rdma::Fabric& fabric)
    : fabric_{&fabric},
      address_{fabric.attach(*this)},
      engine_{memory_,
              tracer_,
              {},
              [this](dev::rdma::PortAddress to, const dev::rdma::Packet& packet, mem::Snapshot&& payload) {
                fabric_->send(address_, to, packet, std::move(payload));
              }} {
  memory_.ring.resize(peer_cq_entries * sizeof(dev::rdma::Cqe));
  key_ = *engine_.register_region(
      {.pd = pd,
       .access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
       .first = 0,
       .bytes = memory_bytes,
       .segments = {{0, memory_bytes}}});
  cq_ = *engine_.create_cq(peer_cq_entries, {{memory_bytes, memory_.ring.size()}});
  qp_ = *engine_.create_qp({.type = IBV_QPT_RC, .pd = pd, .send_cq = cq_, .recv_cq = cq_, .cap = {}});
}

RdmaPeer::~RdmaPeer() { fabric_->detach(address_); }

void RdmaPeer::connect(dev::rdma::PortAddress port, std::uint32_t qp, ibv_mtu mtu) {
  ibv_qp_attr attr{.qp_state = IBV_QPS_INIT,
                   .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
                   .ah_attr = port,
                   .path_mtu = mtu,
                   .dest_qp_num = qp};
  const auto to = [&](ibv_qp_state state, unsigned mask) {
    attr.qp_state = state;
    const auto done = engine_.modify_qp(qp_, attr, IBV_QP_STATE | mask);
    CBIT_ASSERT(done);  // our own queue pair
  };
  to(IBV_QPS_RESET, 0);
  to(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  to(IBV_QPS_RTR, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                      IBV_QP_MIN_RNR_TIMER);
  to(IBV_QPS_RTS,
     IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

ibv_wc_status RdmaPeer::request(ibv_wr_opcode opcode, std::uint64_t remote, std::uint32_t rkey,
                                std::uint64_t bytes) {
  ibv_send_wr wr{.sg_list = {{0, static_cast<std::uint32_t>(bytes), key_}}, .opcode = opcode};
  wr.rdma = {remote, rkey};
  return perform(wr);
}

ibv_wc_status RdmaPeer::atomic(const Atomic& request, std::uint64_t remote, std::uint32_t rkey) {
  ibv_send_wr wr{.sg_list = {{0, sizeof(std::uint64_t), key_}}, .opcode = request.opcode};
  wr.atomic = {remote, request.compare_add, request.swap, rkey};
  return perform(wr);
}

ibv_wc_status RdmaPeer::perform(const ibv_send_wr& wr) {
  if (!engine_.post_send(qp_, wr)) return IBV_WC_LOC_QP_OP_ERR;
  for (unsigned i = 0; i < peer_polls; ++i) {
    fabric_->run();
    const auto cqe = load<dev::rdma::Cqe>(memory_.ring, consumed_ % peer_cq_entries * sizeof(dev::rdma::Cqe));
    if (cqe.generation == consumed_ / peer_cq_entries + 1) {
      engine_.consumed(cq_, ++consumed_);
      return static_cast<ibv_wc_status>(cqe.status);
    }
    engine_.tick();
  }
  return IBV_WC_RETRY_EXC_ERR;
}

void RdmaPeer::send_raw(dev::rdma::PortAddress to, ConstByteSpan packet) {
  fabric_->send(address_, to, dev::rdma::WirePacket::of({packet.begin(), packet.end()}));
  fabric_->run();
}

}  // namespace cbit::testbed
