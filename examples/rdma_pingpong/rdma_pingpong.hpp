// A ping-pong over verbs, as it is written against libibverbs: one endpoint per host, a message to and fro.
#pragma once

#include <cbit/verbs.hpp>

class Endpoint {
 public:
  static constexpr std::uint32_t message_bytes = 4096;

  explicit Endpoint(cbit::RdmaHost& host) : host_{&host}, pd_{host.ibv_alloc_pd()} {}

  // Memory for the message: from ibv_alloc_buf() where the device cannot reach ours, else our own.
  bool open() {
    const bool bounces =
        (host_->ibv_query_device_ex().device_cap_flags_ex & cbit::IBV_DEVICE_CC_DMA_BOUNCE) != 0;
    if (bounces) pd_ = *host_->ibv_alloc_parent_domain(pd_, true);
    const auto buffer = host_->ibv_alloc_buf(pd_, message_bytes);
    if (!buffer) return false;
    const auto mr = host_->ibv_reg_buf_mr(pd_, *buffer, cbit::IBV_ACCESS_LOCAL_WRITE);
    const auto cq = host_->ibv_create_cq(16);
    if (!mr || !cq) return false;
    mr_ = *mr;
    cq_ = *cq;
    const auto qp = host_->ibv_create_qp(pd_, {.send_cq = cq_, .recv_cq = cq_});
    if (qp) qp_ = *qp;
    return qp.has_value();
  }

  bool connect(const Endpoint& peer) {
    using namespace cbit;
    ibv_qp_attr attr{.qp_state = IBV_QPS_INIT};
    if (host_->ibv_modify_qp(qp_, attr,
                             IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) != 0)
      return false;
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_1024;
    attr.ah_attr = peer.host_->port_address();
    attr.dest_qp_num = peer.qp_;
    if (host_->ibv_modify_qp(qp_, attr,
                             IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) != 0)
      return false;
    attr.qp_state = IBV_QPS_RTS;
    return host_->ibv_modify_qp(qp_, attr,
                                IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0;
  }

  void expect_message() {
    host_->ibv_post_recv(qp_, {.sg_list = {{mr_.addr.value(), message_bytes, mr_.lkey}}});
  }

  // True when the request has completed.
  bool send(std::span<const std::byte> message) {
    host_->write(mr_.addr, message);
    const auto bytes = static_cast<std::uint32_t>(message.size());
    if (host_->ibv_post_send(qp_, {.sg_list = {{mr_.addr.value(), bytes, mr_.lkey}}}) != 0) return false;
    return completed();
  }

  std::vector<std::byte> receive(std::size_t bytes) {
    if (!completed()) return {};
    return host_->read(mr_.addr, bytes);
  }

 private:
  bool completed() {
    for (int polls = 0; polls < 10; ++polls)
      if (const auto done = host_->ibv_poll_cq(cq_, 1); !done.empty())
        return done.front().status == cbit::IBV_WC_SUCCESS;
    return false;
  }

  cbit::RdmaHost* host_;
  cbit::ibv_pd pd_;
  cbit::ibv_mr mr_;
  std::uint32_t cq_ = 0, qp_ = 0;
};
