#include "dev/rdma/engine.hpp"

#include <algorithm>
#include <cerrno>

#include "dev/rdma/qp_transitions.hpp"

namespace cbit {

std::string_view ibv_wc_status_str(ibv_wc_status status) {
  static constexpr std::string_view texts[] = {"success",
                                               "local length error",
                                               "local QP operation error",
                                               "local EE context operation error",
                                               "local protection error",
                                               "Work Request Flushed Error",
                                               "memory management operation error",
                                               "bad response error",
                                               "local access error",
                                               "remote invalid request error",
                                               "remote access error",
                                               "remote operation error",
                                               "transport retry counter exceeded",
                                               "RNR retry counter exceeded",
                                               "local RDD violation error",
                                               "remote invalid RD request",
                                               "aborted error",
                                               "invalid EE context number",
                                               "invalid EE context state",
                                               "fatal error",
                                               "response timeout error",
                                               "general error"};
  return status < std::size(texts) ? texts[status] : "unknown";
}

}  // namespace cbit

namespace cbit::dev::rdma {
namespace {

ibv_wc_opcode completion_of(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM: return IBV_WC_RDMA_WRITE;
    case IBV_WR_RDMA_READ: return IBV_WC_RDMA_READ;
    case IBV_WR_ATOMIC_CMP_AND_SWP: return IBV_WC_COMP_SWAP;
    case IBV_WR_ATOMIC_FETCH_AND_ADD: return IBV_WC_FETCH_ADD;
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_IMM: break;
  }
  return IBV_WC_SEND;
}

void take(ibv_qp_attr& to, const ibv_qp_attr& from, unsigned mask) {
  if (mask & IBV_QP_ACCESS_FLAGS) to.qp_access_flags = from.qp_access_flags;
  if (mask & IBV_QP_PKEY_INDEX) to.pkey_index = from.pkey_index;
  if (mask & IBV_QP_PORT) to.port_num = from.port_num;
  if (mask & IBV_QP_QKEY) to.qkey = from.qkey;
  if (mask & IBV_QP_AV) to.ah_attr = from.ah_attr;
  if (mask & IBV_QP_PATH_MTU) to.path_mtu = from.path_mtu;
  if (mask & IBV_QP_TIMEOUT) to.timeout = from.timeout;
  if (mask & IBV_QP_RETRY_CNT) to.retry_cnt = from.retry_cnt;
  if (mask & IBV_QP_RNR_RETRY) to.rnr_retry = from.rnr_retry;
  if (mask & IBV_QP_RQ_PSN) to.rq_psn = from.rq_psn & mask_24_bits;
  if (mask & IBV_QP_MAX_QP_RD_ATOMIC) to.max_rd_atomic = from.max_rd_atomic;
  if (mask & IBV_QP_MIN_RNR_TIMER) to.min_rnr_timer = from.min_rnr_timer;
  if (mask & IBV_QP_SQ_PSN) to.sq_psn = from.sq_psn & mask_24_bits;
  if (mask & IBV_QP_MAX_DEST_RD_ATOMIC) to.max_dest_rd_atomic = from.max_dest_rd_atomic;
  if (mask & IBV_QP_DEST_QPN) to.dest_qp_num = from.dest_qp_num & mask_24_bits;
}

// Values that the device cannot have; _ib_modify_qp() and the drivers.
bool values_ok(const ibv_qp_attr& attr, unsigned mask, const ibv_device_attr& limits) {
  if ((mask & IBV_QP_PORT) && attr.port_num != 1) return false;
  if ((mask & IBV_QP_PKEY_INDEX) && attr.pkey_index != 0) return false;
  if ((mask & IBV_QP_PATH_MTU) && (attr.path_mtu < IBV_MTU_256 || attr.path_mtu > limits.max_mtu))
    return false;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) && attr.max_rd_atomic > limits.max_qp_init_rd_atom) return false;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) && attr.max_dest_rd_atomic > limits.max_qp_rd_atom) return false;
  if ((mask & IBV_QP_MIN_RNR_TIMER) && attr.min_rnr_timer > 31) return false;
  if ((mask & IBV_QP_TIMEOUT) && attr.timeout > 31) return false;
  return attr.retry_cnt <= 7 && attr.rnr_retry <= 7;
}

}  // namespace

std::string_view to_string(ibv_wc_opcode opcode) {
  switch (opcode) {
    case IBV_WC_SEND: return "send";
    case IBV_WC_RDMA_WRITE: return "rdma-write";
    case IBV_WC_RDMA_READ: return "rdma-read";
    case IBV_WC_COMP_SWAP: return "compare-swap";
    case IBV_WC_FETCH_ADD: return "fetch-add";
    case IBV_WC_RECV: return "recv";
    case IBV_WC_RECV_RDMA_WITH_IMM: return "recv-rdma-with-imm";
  }
  return "?";
}

// ---- objects ---------------------------------------------------------------------------------------------

Result<std::uint32_t, int> Engine::register_region(Region region) {
  const std::uint32_t key = regions_.add(std::move(region), config_.limits.max_mr);
  if (key == 0) return tl::unexpected{ENOMEM};
  return key;
}

Result<std::uint32_t, int> Engine::create_cq(std::uint32_t entries, std::vector<Segment> ring) {
  if (entries == 0 || entries > config_.limits.max_cqe) return tl::unexpected{EINVAL};
  if (cqs_.size() >= config_.limits.max_cq) return tl::unexpected{ENOMEM};
  const std::uint32_t number = next_cq_++;
  cqs_[number] = {.number = number, .entries = entries, .ring = std::move(ring)};
  return number;
}

Result<void, int> Engine::destroy_cq(std::uint32_t cq) {
  for (const auto& [number, user] : qps_)
    if (user.init.send_cq == cq || user.init.recv_cq == cq) return tl::unexpected{EBUSY};
  if (cqs_.erase(cq) == 0) return tl::unexpected{EINVAL};
  return {};
}

void Engine::consumed(std::uint32_t cq, std::uint64_t entries) {
  const auto found = cqs_.find(cq);
  if (found == cqs_.end()) return;
  // A doorbell beyond what was produced would make room that is not there.
  found->second.consumed = std::clamp(entries, found->second.consumed, found->second.produced);
}

Result<std::uint32_t, int> Engine::create_qp(const QueuePairInit& init) {
  const ibv_device_attr& limits = config_.limits;
  if ((init.type != IBV_QPT_RC && init.type != IBV_QPT_UD) || !cqs_.contains(init.send_cq) ||
      !cqs_.contains(init.recv_cq) || init.cap.max_send_wr > limits.max_qp_wr ||
      init.cap.max_recv_wr > limits.max_qp_wr || init.cap.max_send_sge > limits.max_sge ||
      init.cap.max_recv_sge > limits.max_sge || init.cap.max_inline_data > limits.max_inline_data)
    return tl::unexpected{EINVAL};
  if (qps_.size() >= limits.max_qp) return tl::unexpected{ENOMEM};
  const std::uint32_t number = next_qp_++ & mask_24_bits;
  QueuePair& added = qps_[number];
  added.number = number;
  added.init = init;
  return number;
}

Result<void, int> Engine::destroy_qp(std::uint32_t number) {
  if (qps_.erase(number) == 0) return tl::unexpected{EINVAL};
  return {};
}

QueuePair* Engine::qp(std::uint32_t number) {
  const auto found = qps_.find(number);
  return found == qps_.end() ? nullptr : &found->second;
}

const QueuePair* Engine::find_qp(std::uint32_t number) const {
  const auto found = qps_.find(number);
  return found == qps_.end() ? nullptr : &found->second;
}

Result<void, int> Engine::modify_qp(std::uint32_t number, const ibv_qp_attr& attr, unsigned mask) {
  QueuePair* const found = qp(number);
  if (found == nullptr) return tl::unexpected{EINVAL};
  const ibv_qp_state to = mask & IBV_QP_STATE ? attr.qp_state : found->state;
  if ((mask & IBV_QP_CUR_STATE) && attr.cur_qp_state != found->state) return tl::unexpected{EINVAL};
  if (!modify_qp_is_ok(found->state, to, found->init.type, mask) || !values_ok(attr, mask, config_.limits))
    return tl::unexpected{EINVAL};
  take(found->attr, attr, mask);
  if (to == IBV_QPS_RESET) {
    reset(*found);
  } else if (to == IBV_QPS_ERR) {
    fail(*found);
  } else {
    if (found->state == IBV_QPS_INIT && to == IBV_QPS_RTR) found->expected_psn = found->attr.rq_psn;
    if (found->state == IBV_QPS_RTR && to == IBV_QPS_RTS) {
      found->next_psn = found->attr.sq_psn;
      found->retries_left = found->attr.retry_cnt;
      found->rnr_left = found->attr.rnr_retry;
    }
    const bool drains = found->state != IBV_QPS_SQD && to == IBV_QPS_SQD;
    found->state = to;
    if (drains) {
      found->tells_drained = (mask & IBV_QP_EN_SQD_ASYNC_NOTIFY) != 0 && attr.en_sqd_async_notify != 0;
      note_drained(*found);
    }
    transmit(*found);
  }
  return {};
}

// ---- posting ---------------------------------------------------------------------------------------------

Result<void, int> Engine::post_send(std::uint32_t number, const ibv_send_wr& wr, Bytes inline_data) {
  QueuePair* const found = qp(number);
  if (found == nullptr || wr.opcode > IBV_WR_ATOMIC_FETCH_AND_ADD) return tl::unexpected{EINVAL};
  if (found->state < IBV_QPS_RTS) return tl::unexpected{EINVAL};
  const bool is_send = wr.opcode == IBV_WR_SEND || wr.opcode == IBV_WR_SEND_WITH_IMM;
  if (found->init.type == IBV_QPT_UD && !is_send) return tl::unexpected{EINVAL};
  const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
  if (is_inline && (wr.opcode >= IBV_WR_RDMA_READ || inline_data.size() > found->init.cap.max_inline_data))
    return tl::unexpected{EINVAL};
  if (wr.sg_list.size() > found->init.cap.max_send_sge) return tl::unexpected{EINVAL};
  if (found->sq.size() >= found->init.cap.max_send_wr) return tl::unexpected{ENOMEM};

  SendWork work{.wr = wr, .inline_data = std::move(inline_data)};
  work.bytes = is_inline ? work.inline_data.size() : length_of(wr.sg_list);
  if (work.bytes > config_.limits.max_msg_sz) return tl::unexpected{EINVAL};
  found->sq.push_back(std::move(work));
  if (found->state == IBV_QPS_ERR)
    flush(*found);
  else if (found->state == IBV_QPS_SQE)
    flush_sends(*found);
  else
    transmit(*found);
  return {};
}

Result<void, int> Engine::post_recv(std::uint32_t number, const ibv_recv_wr& wr) {
  QueuePair* const found = qp(number);
  if (found == nullptr || found->state == IBV_QPS_RESET) return tl::unexpected{EINVAL};
  if (wr.sg_list.size() > found->init.cap.max_recv_sge) return tl::unexpected{EINVAL};
  if (found->rq.size() >= found->init.cap.max_recv_wr) return tl::unexpected{ENOMEM};
  found->rq.push_back(wr);
  if (found->state == IBV_QPS_ERR) flush(*found);
  return {};
}

void Engine::receive(PortAddress from, const WirePacket& wire) {
  const auto packet = parse(wire);
  if (!packet) return refuse(0, 0, 0, wire.size(), refusal::malformed_packet);
  if (QueuePair* const to = addressee(from, *packet)) receive(*to, *packet);
}

std::size_t Engine::receive(std::span<const Frame> frames) {
  const Frame& first = frames.front();
  auto packet = parse(first.packet);
  if (!packet) {
    refuse(0, 0, 0, first.packet.size(), refusal::malformed_packet);
    return 1;
  }
  QueuePair* const to = addressee(first.source, *packet);
  if (to == nullptr) return 1;
  join_write(*to, *packet, frames.subspan(1));
  const std::size_t taken = packet->joined;
  receive(*to, *packet);
  return taken;
}

QueuePair* Engine::addressee(PortAddress from, const Packet& packet) {
  QueuePair* const to = qp(packet.bth.destination_qp);
  if (to == nullptr || !to->receives() || packet.bth.pkey != default_pkey) return nullptr;
  const bool is_datagram = packet.deth.has_value();
  if (is_datagram != (to->init.type == IBV_QPT_UD)) return nullptr;
  // A connection is with one port; others cannot speak for it.
  return is_datagram || from == to->attr.ah_attr ? to : nullptr;
}

void Engine::receive(QueuePair& to, const Packet& packet) {
  if (packet.deth) return on_datagram(to, packet);
  if (packet.info().response) return on_response(to, packet);
  on_request(to, packet);
}

void Engine::tick() {
  for (auto& [number, waiting] : qps_) {
    if (!waiting.finishes_requests() || !waiting.has_sent()) continue;
    if (!waiting.waiting) {
      if (waiting.retries_left == 0) {
        fail_request(waiting, IBV_WC_RETRY_EXC_ERR);
        continue;
      }
      --waiting.retries_left;
    }
    retransmit(waiting);
  }
}

std::optional<ibv_async_event> Engine::take_async_event() {
  if (events_.empty()) return std::nullopt;
  const ibv_async_event oldest = events_.front();
  events_.pop_front();
  return oldest;
}

// ---- completions -----------------------------------------------------------------------------------------

void Engine::complete(QueuePair& owner, std::uint32_t cq, Cqe entry) {
  CompletionQueue& queue = cqs_.at(cq);
  if (queue.in_error) return fail(owner, IBV_EVENT_QP_FATAL);
  entry.qp_num = owner.number;
  if (queue.produced - queue.consumed >= queue.entries) {
    queue.in_error = true;
    refuse(owner.number, 0, queue.produced, queue.entries, refusal::cq_overrun);
    events_.push_back({IBV_EVENT_CQ_ERR, queue.number});
    return fail(owner, IBV_EVENT_QP_FATAL);
  }
  entry.generation = static_cast<std::uint32_t>(queue.produced / queue.entries) + 1;
  const std::uint64_t at = queue.produced % queue.entries * sizeof(Cqe);
  ++queue.produced;
  tracer_->emit(config_.agent, RdmaCompleted{.device = config_.device,
                                             .qp = owner.number,
                                             .opcode = to_string(static_cast<ibv_wc_opcode>(entry.opcode)),
                                             .bytes = entry.byte_len,
                                             .status = entry.status});
  if (!write_segments(*memory_, queue.ring, at, bytes_of(entry))) {
    queue.in_error = true;
    refuse(owner.number, 0, at, sizeof entry, refusal::memory_fault);
    events_.push_back({IBV_EVENT_CQ_ERR, queue.number});
    fail(owner, IBV_EVENT_QP_FATAL);
  }
}

void Engine::complete_send(QueuePair& owner, const SendWork& work, ibv_wc_status status) {
  const bool wanted = owner.init.sq_sig_all || (work.wr.send_flags & IBV_SEND_SIGNALED) != 0;
  if (status == IBV_WC_SUCCESS && !wanted) return;
  complete(owner, owner.init.send_cq,
           {.wr_id = work.wr.wr_id,
            .status = status,
            .opcode = completion_of(work.wr.opcode),
            .byte_len = status == IBV_WC_SUCCESS ? static_cast<std::uint32_t>(work.bytes) : 0});
}

void Engine::complete_receive(QueuePair& owner, ibv_wc_status status, ibv_wc_opcode opcode,
                              std::uint64_t bytes, const Packet* packet) {
  const ibv_recv_wr wr = std::move(owner.rq.front());
  owner.rq.pop_front();
  Cqe entry{
      .wr_id = wr.wr_id, .status = status, .opcode = opcode, .byte_len = static_cast<std::uint32_t>(bytes)};
  if (packet != nullptr && packet->immediate) {
    entry.imm_data = *packet->immediate;
    entry.wc_flags |= IBV_WC_WITH_IMM;
  }
  if (packet != nullptr && packet->deth) {
    entry.src_qp = packet->deth->source_qp;
    entry.wc_flags |= IBV_WC_GRH;
  }
  complete(owner, owner.init.recv_cq, entry);
}

void Engine::fail(QueuePair& failed) {
  failed.state = IBV_QPS_ERR;
  flush(failed);
}

void Engine::fail(QueuePair& failed, ibv_event_type event) {
  if (failed.state == IBV_QPS_ERR) return;
  events_.push_back({event, failed.number});
  fail(failed);
}

void Engine::fail_sends(QueuePair& failed) {
  if (failed.init.type == IBV_QPT_RC) return fail(failed);
  // The completion itself may have ended it.
  if (failed.state == IBV_QPS_ERR) return;
  failed.state = IBV_QPS_SQE;
  flush_sends(failed);
}

void Engine::note_drained(QueuePair& owner) {
  if (owner.state != IBV_QPS_SQD || !owner.tells_drained || owner.has_sent()) return;
  owner.tells_drained = false;
  events_.push_back({IBV_EVENT_SQ_DRAINED, owner.number});
}

void Engine::flush_sends(QueuePair& failed) {
  while (!failed.sq.empty()) {
    const SendWork work = std::move(failed.sq.front());
    failed.sq.pop_front();
    complete_send(failed, work, IBV_WC_WR_FLUSH_ERR);
  }
}

void Engine::flush(QueuePair& failed) {
  flush_sends(failed);
  while (!failed.rq.empty()) complete_receive(failed, IBV_WC_WR_FLUSH_ERR, IBV_WC_RECV, 0, nullptr);
}

void Engine::reset(QueuePair& old) {
  QueuePair fresh;
  fresh.number = old.number;
  fresh.init = old.init;
  old = std::move(fresh);
}

void Engine::refuse(std::uint32_t number, std::uint32_t key, std::uint64_t at, std::uint64_t bytes,
                    std::string_view reason) {
  tracer_->emit(config_.agent, RdmaRefused{.device = config_.device,
                                           .qp = number,
                                           .key = key,
                                           .address = at,
                                           .bytes = bytes,
                                           .reason = reason});
}

// ---- scatter and gather ----------------------------------------------------------------------------------

std::uint64_t Engine::length_of(const std::vector<ibv_sge>& entries) {
  std::uint64_t bytes = 0;
  for (const ibv_sge& entry : entries) bytes += entry.length;
  return bytes;
}

std::string_view Engine::check_entries(const QueuePair& owner, const std::vector<ibv_sge>& entries,
                                       unsigned access) {
  for (const ibv_sge& entry : entries) {
    const std::string_view reason =
        regions_.check_local(entry.lkey, owner.init.pd, entry.addr, entry.length, access);
    if (reason.empty()) continue;
    refuse(owner.number, entry.lkey, entry.addr, entry.length, reason);
    return reason;
  }
  return refusal::none;
}

namespace {

// Calls `move(region, offset in it, bytes before, bytes)` for [offset, offset + bytes) of the entries, which
// have been checked; a region may have gone since.
template <class Move>
bool each_entry(const RegionTable& regions, const std::vector<ibv_sge>& entries, std::uint64_t offset,
                std::uint64_t bytes, Move&& move) {
  std::uint64_t done = 0;
  for (const ibv_sge& entry : entries) {
    if (done == bytes) break;
    if (offset >= entry.length) {
      offset -= entry.length;
      continue;
    }
    const std::uint64_t n = std::min(entry.length - offset, bytes - done);
    const Region* const region = regions.find(entry.lkey);
    if (region == nullptr || !move(*region, entry.addr + offset - region->first, done, n)) return false;
    done += n;
    offset = 0;
  }
  return true;
}

}  // namespace

bool Engine::gather(const std::vector<ibv_sge>& entries, std::uint64_t bytes, mem::SnapshotQueue& to) {
  return each_entry(regions_, entries, 0, bytes,
                    [&](const Region& region, std::uint64_t at, std::uint64_t, std::uint64_t n) {
                      return snapshot_segments(*memory_, region.segments, at, n, to).has_value();
                    });
}

bool Engine::scatter(const std::vector<ibv_sge>& entries, std::uint64_t offset, ConstByteSpan from) {
  return each_entry(regions_, entries, offset, from.size(),
                    [&](const Region& region, std::uint64_t at, std::uint64_t done, std::uint64_t n) {
                      return write_segments(*memory_, region.segments, at, from.subspan(done, n)).has_value();
                    });
}

}  // namespace cbit::dev::rdma
