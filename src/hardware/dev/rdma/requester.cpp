// The requester: work requests become packets, and responses completions.
#include <algorithm>

#include "dev/rdma/engine.hpp"

namespace cbit::dev::rdma {
namespace {

std::uint32_t packets_of(std::uint64_t bytes, std::uint32_t mtu) {
  return std::max(1u, static_cast<std::uint32_t>((bytes + mtu - 1) / mtu));
}

bool has_immediate(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

// The opcode of one packet of a send or write.
Opcode message_opcode(ibv_wr_opcode opcode, bool first, bool last) {
  const bool immediate = has_immediate(opcode);
  if (opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM) {
    if (first && last) return immediate ? Opcode::rc_send_only_imm : Opcode::rc_send_only;
    if (first) return Opcode::rc_send_first;
    if (last) return immediate ? Opcode::rc_send_last_imm : Opcode::rc_send_last;
    return Opcode::rc_send_middle;
  }
  if (first && last) return immediate ? Opcode::rc_write_only_imm : Opcode::rc_write_only;
  if (first) return Opcode::rc_write_first;
  if (last) return immediate ? Opcode::rc_write_last_imm : Opcode::rc_write_last;
  return Opcode::rc_write_middle;
}

ibv_wc_status status_of(NakCode code) {
  switch (code) {
    case NakCode::invalid_request: return IBV_WC_REM_INV_REQ_ERR;
    case NakCode::remote_access_error: return IBV_WC_REM_ACCESS_ERR;
    case NakCode::remote_operational_error: return IBV_WC_REM_OP_ERR;
    case NakCode::psn_sequence_error: break;
  }
  return IBV_WC_BAD_RESP_ERR;
}

}  // namespace

void Engine::transmit(QueuePair& owner) {
  for (std::size_t i = 0; owner.state == IBV_QPS_RTS && !owner.waiting && i < owner.sq.size(); ++i) {
    SendWork& work = owner.sq[i];
    if (work.sent) continue;
    if (work.expects_response()) {
      const auto pending = std::ranges::count_if(
          owner.sq, [](const SendWork& w) { return w.sent && w.expects_response() && !w.answered; });
      if (owner.attr.max_rd_atomic != 0 && pending >= owner.attr.max_rd_atomic) return;
    }
    if (!start(owner, work)) return;
    if (owner.init.type == IBV_QPT_UD) {
      const SendWork done = std::move(owner.sq.front());
      owner.sq.pop_front();
      --i;
      complete_send(owner, done, IBV_WC_SUCCESS);
    }
  }
}

// Checks what the work request names here, numbers its packets and sends them.
bool Engine::start(QueuePair& owner, SendWork& work) {
  // What the requests before it read or wrote has arrived by then; a failure ends with this one in front.
  const auto fail_this = [&](ibv_wc_status status) {
    const SendWork failed = work;
    std::erase_if(owner.sq, [&](const SendWork& w) { return &w == &work; });
    complete_send(owner, failed, status);
    fail_sends(owner);
    return false;
  };
  const bool inline_data = (work.wr.send_flags & IBV_SEND_INLINE) != 0;
  const unsigned access = work.expects_response() ? unsigned{IBV_ACCESS_LOCAL_WRITE} : 0;
  if (!inline_data && !check_entries(owner, work.wr.sg_list, access).empty())
    return fail_this(IBV_WC_LOC_PROT_ERR);
  if (work.expects_response() && owner.attr.max_rd_atomic == 0) return fail_this(IBV_WC_LOC_QP_OP_ERR);
  const bool atomic = work.wr.opcode >= IBV_WR_ATOMIC_CMP_AND_SWP;
  if (atomic && work.bytes != sizeof(std::uint64_t)) return fail_this(IBV_WC_LOC_LEN_ERR);
  if (owner.init.type == IBV_QPT_UD) {
    if (work.bytes > bytes_of_mtu(config_.limits.max_mtu)) return fail_this(IBV_WC_LOC_LEN_ERR);
    if (!send_datagram(owner, work)) return fail_this(IBV_WC_LOC_QP_OP_ERR);
    return true;
  }

  if (!work.sent) {
    work.first_psn = owner.next_psn;
    work.last_psn = psn_add(work.first_psn, atomic ? 0 : packets_of(work.bytes, mtu(owner)) - 1);
    owner.next_psn = psn_add(work.last_psn, 1);
    work.sent = true;
  }
  if (work.expects_response()) {
    send_read_or_atomic(owner, work);
    return true;
  }
  if (!send_message(owner, work)) return fail_this(IBV_WC_LOC_QP_OP_ERR);
  return true;
}

bool Engine::read_payload(const SendWork& work, mem::SnapshotQueue& to) {
  if ((work.wr.send_flags & IBV_SEND_INLINE) == 0) return gather(work.wr.sg_list, work.bytes, to);
  to.extend(UnfilledBytes(work.inline_data.begin(), work.inline_data.end()));
  return true;
}

bool Engine::send_message(QueuePair& owner, SendWork& work) {
  const std::uint32_t count = packets_of(work.bytes, mtu(owner));
  mem::SnapshotQueue payload;
  const bool whole = read_payload(work, payload);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t bytes =
        std::min<std::uint64_t>(mtu(owner), work.bytes - std::uint64_t{i} * mtu(owner));
    if (!whole && payload.size() < bytes) return false;  // what lies before the fault was sent
    const bool first = i == 0, last = i + 1 == count;
    Packet packet;
    packet.bth = {.opcode = message_opcode(work.wr.opcode, first, last),
                  .solicited = last && (work.wr.send_flags & IBV_SEND_SOLICITED) != 0,
                  .destination_qp = owner.attr.dest_qp_num,
                  .ack_request = last,
                  .psn = psn_add(work.first_psn, i)};
    if (packet.info().reth)
      packet.reth = Reth{work.wr.rdma.remote_addr, work.wr.rdma.rkey, static_cast<std::uint32_t>(work.bytes)};
    if (packet.info().immediate) packet.immediate = work.wr.imm_data;
    send(owner.attr.ah_attr, packet, payload.take(bytes));
  }
  return true;
}

bool Engine::send_datagram(QueuePair& owner, const SendWork& work) {
  Packet packet;
  packet.bth = {.opcode = has_immediate(work.wr.opcode) ? Opcode::ud_send_only_imm : Opcode::ud_send_only,
                .solicited = (work.wr.send_flags & IBV_SEND_SOLICITED) != 0,
                .destination_qp = work.wr.ud.remote_qpn & mask_24_bits,
                .psn = owner.next_psn};
  owner.next_psn = psn_add(owner.next_psn, 1);
  // A Q_Key with the high bit set stands for the queue pair's own. 10.2.5.
  const bool own = (work.wr.ud.remote_qkey & 1u << 31) != 0;
  packet.deth = Deth{own ? owner.attr.qkey : work.wr.ud.remote_qkey, owner.number};
  if (packet.info().immediate) packet.immediate = work.wr.imm_data;
  mem::SnapshotQueue payload;
  if (!read_payload(work, payload)) return false;
  send(work.wr.ud.ah, packet, payload.take(work.bytes));
  return true;
}

void Engine::send_read_or_atomic(QueuePair& owner, const SendWork& work) {
  Packet packet;
  packet.bth = {.opcode = Opcode::rc_read_request,
                .destination_qp = owner.attr.dest_qp_num,
                .ack_request = true,
                .psn = work.first_psn};
  if (work.wr.opcode == IBV_WR_RDMA_READ) {
    packet.reth = Reth{work.wr.rdma.remote_addr, work.wr.rdma.rkey, static_cast<std::uint32_t>(work.bytes)};
  } else {
    const bool swap = work.wr.opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
    packet.bth.opcode = swap ? Opcode::rc_compare_swap : Opcode::rc_fetch_add;
    packet.atomic = AtomicEth{.address = work.wr.atomic.remote_addr,
                              .rkey = work.wr.atomic.rkey,
                              .swap_or_add = swap ? work.wr.atomic.swap : work.wr.atomic.compare_add,
                              .compare = swap ? work.wr.atomic.compare_add : 0};
  }
  send(owner.attr.ah_attr, packet);
}

void Engine::fail_request(QueuePair& owner, ibv_wc_status status) {
  const SendWork work = std::move(owner.sq.front());
  owner.sq.pop_front();
  complete_send(owner, work, status);
  fail(owner);
}

// ---- responses -------------------------------------------------------------------------------------------

void Engine::on_response(QueuePair& owner, const Packet& packet) {
  if (!owner.finishes_requests() || !owner.has_sent()) return;
  // Only what answers a request that is on its way; the rest are ghosts. 9.7.4.1.
  if (psn_distance(packet.bth.psn, owner.sq.front().first_psn) < -1 ||
      psn_distance(packet.bth.psn, owner.next_psn) >= 0)
    return;
  if (packet.bth.opcode == Opcode::rc_acknowledge) return on_acknowledge(owner, packet);
  const auto work = std::ranges::find_if(owner.sq, [&](const SendWork& w) {
    return w.sent && w.expects_response() && !w.answered && psn_distance(packet.bth.psn, w.first_psn) >= 0 &&
           psn_distance(packet.bth.psn, w.last_psn) <= 0;
  });
  if (work == owner.sq.end()) return;
  if (packet.bth.opcode == Opcode::rc_atomic_acknowledge)
    on_atomic_response(owner, *work, packet);
  else
    on_read_response(owner, *work, packet);
}

void Engine::on_acknowledge(QueuePair& owner, const Packet& packet) {
  if (packet.aeth->syndrome.get<Syndrome::Kind>() != syndrome_ack) return on_nak(owner, packet);
  owner.retries_left = owner.attr.retry_cnt;
  owner.rnr_left = owner.attr.rnr_retry;
  acknowledged(owner, packet.bth.psn);
}

void Engine::acknowledged(QueuePair& owner, std::uint32_t psn) {
  while (!owner.sq.empty()) {
    SendWork& head = owner.sq.front();
    if (!head.sent || psn_distance(head.last_psn, psn) > 0) break;
    if (head.expects_response() && !head.answered) break;
    const SendWork done = std::move(head);
    owner.sq.pop_front();
    complete_send(owner, done, IBV_WC_SUCCESS);
  }
  note_drained(owner);
  transmit(owner);
}

void Engine::on_nak(QueuePair& owner, const Packet& packet) {
  const Syndrome syndrome = packet.aeth->syndrome;
  // What came before the refused packet has arrived.
  acknowledged(owner, psn_add(packet.bth.psn, mask_24_bits));
  if (!owner.finishes_requests() || !owner.has_sent()) return;
  if (syndrome.get<Syndrome::Kind>() == syndrome_rnr_nak) {
    if (owner.rnr_left == 0) return fail_request(owner, IBV_WC_RNR_RETRY_EXC_ERR);
    if (owner.rnr_left != 7) --owner.rnr_left;
    owner.waiting = true;
    return;
  }
  if (syndrome.get<Syndrome::Kind>() != syndrome_nak) return;
  const NakCode code{syndrome.get<Syndrome::Value>()};
  if (code != NakCode::psn_sequence_error) return fail_request(owner, status_of(code));
  if (owner.retries_left == 0) return fail_request(owner, IBV_WC_RETRY_EXC_ERR);
  --owner.retries_left;
  retransmit(owner);
}

void Engine::on_read_response(QueuePair& owner, SendWork& work, const Packet& packet) {
  const std::uint32_t count = packets_of(work.bytes, mtu(owner));
  if (work.wr.opcode != IBV_WR_RDMA_READ || packet.bth.psn != psn_add(work.first_psn, work.responses)) return;
  const std::uint64_t offset = std::uint64_t{work.responses} * mtu(owner);
  const std::uint64_t expected = std::min<std::uint64_t>(mtu(owner), work.bytes - offset);
  const OpcodeInfo& info = packet.info();
  const bool well_formed = info.first == (work.responses == 0) &&
                           info.last == (work.responses + 1 == count) && packet.payload.size() == expected;
  // The request in front is the one that the peer has answered wrongly, or waits for this one.
  if (!well_formed) {
    refuse(owner.number, 0, packet.bth.psn, packet.payload.size(), refusal::bad_response);
    return fail_request(owner, IBV_WC_BAD_RESP_ERR);
  }
  if (!check_entries(owner, work.wr.sg_list, IBV_ACCESS_LOCAL_WRITE).empty())
    return fail_request(owner, IBV_WC_LOC_PROT_ERR);
  if (!scatter(work.wr.sg_list, offset, packet.payload)) return fail_request(owner, IBV_WC_LOC_QP_OP_ERR);
  ++work.responses;
  work.answered = info.last;
  if (work.answered) acknowledged(owner, packet.bth.psn);
}

void Engine::on_atomic_response(QueuePair& owner, SendWork& work, const Packet& packet) {
  if (work.wr.opcode == IBV_WR_RDMA_READ) return;
  if (!check_entries(owner, work.wr.sg_list, IBV_ACCESS_LOCAL_WRITE).empty())
    return fail_request(owner, IBV_WC_LOC_PROT_ERR);
  if (!scatter(work.wr.sg_list, 0, bytes_of(*packet.atomic_ack)))
    return fail_request(owner, IBV_WC_LOC_QP_OP_ERR);
  work.answered = true;
  acknowledged(owner, packet.bth.psn);
}

// Go back to the oldest request that is not finished, and send it and what follows again.
void Engine::retransmit(QueuePair& owner) {
  owner.waiting = false;
  for (std::size_t i = 0; owner.finishes_requests() && i < owner.sq.size() && owner.sq[i].sent; ++i) {
    if (owner.sq[i].answered) continue;
    owner.sq[i].responses = 0;
    if (!start(owner, owner.sq[i])) return;
  }
  transmit(owner);
}

}  // namespace cbit::dev::rdma
