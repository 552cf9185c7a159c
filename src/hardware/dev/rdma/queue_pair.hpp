// State of queue pairs and completion queues inside the engine (dev/rdma/engine.hpp).
#pragma once

#include <deque>
#include <map>

#include "dev/rdma/fabric.hpp"
#include "dev/rdma/regions.hpp"
#include "dev/rdma/wire.hpp"

namespace cbit::dev::rdma {

// One completion in its ring, little-endian. `generation` is written last and counts how often the ring has
// wrapped, from 1: an entry with another value is not there yet.
struct Cqe {
  std::uint64_t wr_id = 0;
  std::uint32_t status = 0;  // ibv_wc_status
  std::uint32_t opcode = 0;  // ibv_wc_opcode
  std::uint32_t byte_len = 0;
  std::uint32_t imm_data = 0;
  std::uint32_t qp_num = 0;
  std::uint32_t src_qp = 0;
  std::uint32_t wc_flags = 0;
  std::uint32_t reserved[6] = {};
  std::uint32_t generation = 0;
};
static_assert(sizeof(Cqe) == 64 && offsetof(Cqe, generation) == 60);

struct CompletionQueue {
  std::uint32_t number = 0;
  std::uint32_t entries = 0;
  std::vector<Segment> ring;  // entries * sizeof(Cqe) bytes
  std::uint64_t produced = 0;
  std::uint64_t consumed = 0;  // what the application has told by its doorbell
  bool in_error = false;
};

struct QueuePairInit {
  ibv_qp_type type = IBV_QPT_RC;
  std::uint32_t pd = 0;
  std::uint32_t send_cq = 0;
  std::uint32_t recv_cq = 0;
  ibv_qp_cap cap;
  bool sq_sig_all = false;
};

// A send work request on its way.
struct SendWork {
  ibv_send_wr wr;
  Bytes inline_data;  // with IBV_SEND_INLINE
  std::uint64_t bytes = 0;
  std::uint32_t first_psn = 0, last_psn = 0;
  bool sent = false;
  std::uint32_t responses = 0;  // of a read: packets that have come
  bool answered = false;        // of a read or atomic: all have

  [[nodiscard]] bool expects_response() const { return wr.opcode >= IBV_WR_RDMA_READ; }
};

// An RC message of which the responder has seen the first packet and not the last.
struct Inbound {
  enum class Kind : std::uint8_t { none, send, write };
  Kind kind = Kind::none;
  std::uint64_t done = 0;
  Reth target;  // of a write
};

struct QueuePair {
  std::uint32_t number = 0;
  QueuePairInit init;
  ibv_qp_state state = IBV_QPS_RESET;
  ibv_qp_attr attr;

  // requester
  std::deque<SendWork> sq;
  std::uint32_t next_psn = 0;
  unsigned retries_left = 0, rnr_left = 0;
  bool waiting = false;        // the responder was not ready; sending goes on at the next tick
  bool tells_drained = false;  // in SQD: IBV_EVENT_SQ_DRAINED was asked for and not yet given

  // responder
  std::deque<ibv_recv_wr> rq;
  std::uint32_t expected_psn = 0;
  std::uint32_t msn = 0;
  bool nak_sent = false;  // packets beyond the expected one are dropped until it comes
  Inbound inbound;
  std::map<std::uint32_t, std::uint64_t> atomics;  // results by PSN, for repeated requests

  // SQD and SQE are about the send queue. 10.3.1.
  [[nodiscard]] bool receives() const { return state >= IBV_QPS_RTR && state <= IBV_QPS_SQE; }
  // Requests that were sent are finished in SQD too; none is begun there.
  [[nodiscard]] bool finishes_requests() const { return state == IBV_QPS_RTS || state == IBV_QPS_SQD; }
  [[nodiscard]] bool has_sent() const { return !sq.empty() && sq.front().sent; }
};

// 24-bit sequence numbers: how far `a` is after `b`, negative when before.
[[nodiscard]] constexpr std::int32_t psn_distance(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>((a - b) << 8) >> 8;
}
[[nodiscard]] constexpr std::uint32_t psn_add(std::uint32_t psn, std::uint32_t n) {
  return (psn + n) & mask_24_bits;
}

}  // namespace cbit::dev::rdma
