// The responder: requests are checked, executed and answered. 9.7.4 and 9.9 of the specification.
#include <algorithm>

#include "dev/rdma/engine.hpp"

namespace cbit::dev::rdma {
namespace {

Syndrome syndrome_of(std::uint8_t kind, std::uint8_t value) {
  return Syndrome{}.with<Syndrome::Kind>(kind).with<Syndrome::Value>(value);
}

bool is_send(Opcode opcode) { return opcode <= Opcode::rc_send_only_imm; }
// The right that the queue pair has to give for a request that is no send.
unsigned right_for(const Packet& packet) {
  if (packet.atomic) return IBV_ACCESS_REMOTE_ATOMIC;
  return packet.bth.opcode == Opcode::rc_read_request ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
}

bool is_write(Opcode opcode) {
  return opcode >= Opcode::rc_write_first && opcode <= Opcode::rc_write_only_imm;
}

// Whether a packet of a write is the next behind those that are joined, and its bytes lie there, too.
bool follows(const Packet& joined, const Packet& next) {
  return (next.bth.opcode == Opcode::rc_write_middle || next.bth.opcode == Opcode::rc_write_last) &&
         next.bth.destination_qp == joined.bth.destination_qp && next.bth.pkey == joined.bth.pkey &&
         next.bth.psn == psn_add(joined.bth.psn, joined.joined) &&
         next.payload.data() == joined.payload.data() + joined.payload.size();
}

Packet response(const QueuePair& from, Opcode opcode, std::uint32_t psn, Syndrome syndrome) {
  Packet packet;
  packet.bth = {.opcode = opcode, .destination_qp = from.attr.dest_qp_num, .psn = psn};
  if (packet.info().aeth) packet.aeth = Aeth{syndrome, from.msn};
  return packet;
}

std::uint64_t fetch_and_op(const Packet& packet, std::uint64_t old) {
  const AtomicEth& atomic = *packet.atomic;
  if (packet.bth.opcode == Opcode::rc_fetch_add) return old + atomic.swap_or_add;
  return old == atomic.compare ? atomic.swap_or_add : old;
}

}  // namespace

void Engine::answer(const QueuePair& from, Opcode opcode, std::uint32_t psn, Syndrome syndrome,
                    std::optional<std::uint64_t> atomic_ack) {
  Packet packet = response(from, opcode, psn, syndrome);
  packet.atomic_ack = atomic_ack;
  send(from.attr.ah_attr, packet);
}

void Engine::on_request(QueuePair& to, const Packet& packet) {
  const std::int32_t ahead = psn_distance(packet.bth.psn, to.expected_psn);
  if (ahead < 0) return on_duplicate(to, packet);
  if (ahead > 0) {
    if (!std::exchange(to.nak_sent, true))
      answer(to, Opcode::rc_acknowledge, to.expected_psn,
             syndrome_of(syndrome_nak, static_cast<std::uint8_t>(NakCode::psn_sequence_error)));
    return;
  }
  to.nak_sent = false;
  const Verdict verdict = execute(to, packet);
  if (verdict.kind == Verdict::Kind::rnr) {
    to.nak_sent = true;  // what follows is dropped until this one comes again
    return answer(to, Opcode::rc_acknowledge, packet.bth.psn,
                  syndrome_of(syndrome_rnr_nak, to.attr.min_rnr_timer));
  }
  if (verdict.kind == Verdict::Kind::nak) {
    answer(to, Opcode::rc_acknowledge, psn_add(packet.bth.psn, verdict.packet),
           syndrome_of(syndrome_nak, static_cast<std::uint8_t>(verdict.nak)));
    return fail(to,
                verdict.nak == NakCode::remote_access_error ? IBV_EVENT_QP_ACCESS_ERR : IBV_EVENT_QP_REQ_ERR);
  }
  if (to.receives() && packet.bth.ack_request && (is_send(packet.bth.opcode) || is_write(packet.bth.opcode)))
    answer(to, Opcode::rc_acknowledge, psn_add(packet.bth.psn, packet.joined - 1),
           syndrome_of(syndrome_ack, no_credits));
}

// A write's first packet and all that are to follow it become one that has them all, where they are as they
// shall be: then nothing but its key and memory can stop them.
void Engine::join_write(const QueuePair& to, Packet& first, std::span<const Frame> next) {
  const bool expected = first.bth.psn == to.expected_psn && to.inbound.kind == Inbound::Kind::none &&
                        (to.attr.qp_access_flags & IBV_ACCESS_REMOTE_WRITE) != 0;
  if (!expected || first.bth.opcode != Opcode::rc_write_first || first.bth.ack_request ||
      first.payload.size() != mtu(to))
    return;
  Packet all = first;
  for (const Frame& frame : next) {
    const auto packet = parse(frame.packet);
    if (!packet || !follows(all, *packet)) return;
    all.payload = {all.payload.data(), all.payload.size() + packet->payload.size()};
    ++all.joined;
    const bool last = all.payload.size() == first.reth->bytes;
    if (last != (packet->bth.opcode == Opcode::rc_write_last) || packet->payload.size() > mtu(to)) return;
    if (last) {
      all.bth.opcode = Opcode::rc_write_only;
      all.bth.ack_request = packet->bth.ack_request;
      first = all;
      return;
    }
    if (packet->bth.ack_request || packet->payload.size() != mtu(to)) return;
  }
}

// A request that was executed before: its answer was lost. 9.7.5.1.2.
void Engine::on_duplicate(QueuePair& to, const Packet& packet) {
  if (packet.atomic) {
    const auto known = to.atomics.find(packet.bth.psn);
    if (known != to.atomics.end())
      answer(to, Opcode::rc_atomic_acknowledge, packet.bth.psn, syndrome_of(syndrome_ack, no_credits),
             known->second);
    return;
  }
  if (packet.bth.opcode == Opcode::rc_read_request) {
    // A number of the past gives a forged request no rights.
    if ((to.attr.qp_access_flags & right_for(packet)) == 0) return;
    const std::uint32_t expected = to.expected_psn;
    if (execute_read(to, packet).kind == Verdict::Kind::nak) fail(to, IBV_EVENT_QP_ACCESS_ERR);
    to.expected_psn = expected;
    return;
  }
  if (packet.bth.ack_request)
    answer(to, Opcode::rc_acknowledge, psn_add(to.expected_psn, mask_24_bits),
           syndrome_of(syndrome_ack, no_credits));
}

// Whether the packet is the one that its opcode says, in the message and in size.
bool Engine::in_sequence(const QueuePair& to, const OpcodeInfo& info, const Packet& packet) const {
  const bool send = is_send(packet.bth.opcode), write = is_write(packet.bth.opcode);
  const Inbound::Kind expected = info.first ? Inbound::Kind::none
                                 : send     ? Inbound::Kind::send
                                            : Inbound::Kind::write;
  if (to.inbound.kind != expected) return false;
  if (!send && !write) return true;
  if (!info.last) return packet.payload.size() == mtu(to);
  if (packet.joined > 1) return true;
  return packet.payload.size() <= mtu(to) && (info.first || !packet.payload.empty());
}

Engine::Verdict Engine::execute(QueuePair& to, const Packet& packet) {
  const auto invalid = [&](std::string_view reason) {
    refuse(to.number, 0, packet.bth.psn, packet.payload.size(), reason);
    return Verdict{Verdict::Kind::nak, NakCode::invalid_request};
  };
  if (!in_sequence(to, packet.info(), packet)) return invalid(refusal::invalid_request);
  if (is_send(packet.bth.opcode)) return execute_send(to, packet);
  if ((to.attr.qp_access_flags & right_for(packet)) == 0) return invalid(refusal::invalid_request);
  // Reads and atomics take responder resources. 9.7.4.1.3.
  const bool takes_resources = packet.atomic || packet.bth.opcode == Opcode::rc_read_request;
  if (takes_resources && to.attr.max_dest_rd_atomic == 0) return invalid(refusal::invalid_request);
  if (packet.atomic) return execute_atomic(to, packet);
  if (packet.bth.opcode == Opcode::rc_read_request) return execute_read(to, packet);
  return execute_write(to, packet);
}

Engine::Verdict Engine::refuse_remote(const QueuePair& to, std::uint32_t key, std::uint64_t at,
                                      std::uint64_t bytes, std::string_view reason) {
  refuse(to.number, key, at, bytes, reason);
  return {Verdict::Kind::nak,
          reason == refusal::memory_fault ? NakCode::remote_operational_error : NakCode::remote_access_error};
}

Engine::Verdict Engine::execute_send(QueuePair& to, const Packet& packet) {
  const OpcodeInfo& info = packet.info();
  if (info.first) {
    if (to.rq.empty()) return {Verdict::Kind::rnr, {}};
    to.inbound = {.kind = Inbound::Kind::send, .done = 0, .target = {}};
  }
  const auto fail_receive = [&](ibv_wc_status status, NakCode nak) {
    complete_receive(to, status, IBV_WC_RECV, 0, nullptr);
    return Verdict{Verdict::Kind::nak, nak};
  };
  const std::vector<ibv_sge>& entries = to.rq.front().sg_list;
  if (to.inbound.done + packet.payload.size() > length_of(entries)) {
    refuse(to.number, 0, to.inbound.done, packet.payload.size(), refusal::receive_too_small);
    return fail_receive(IBV_WC_LOC_LEN_ERR, NakCode::invalid_request);
  }
  if (info.first && !check_entries(to, entries, IBV_ACCESS_LOCAL_WRITE).empty())
    return fail_receive(IBV_WC_LOC_PROT_ERR, NakCode::remote_operational_error);
  if (!scatter(entries, to.inbound.done, packet.payload))
    return fail_receive(IBV_WC_LOC_QP_OP_ERR, NakCode::remote_operational_error);
  to.inbound.done += packet.payload.size();
  return end_of_message(to, packet, IBV_WC_RECV, to.inbound.done);
}

Engine::Verdict Engine::execute_write(QueuePair& to, const Packet& packet) {
  const OpcodeInfo& info = packet.info();
  Inbound inbound = to.inbound;
  if (info.first) inbound = {.kind = Inbound::Kind::write, .done = 0, .target = *packet.reth};
  const Reth& target = inbound.target;
  // The whole message is judged by its first packet, and the key again by each: it may have gone.
  const std::string_view reason =
      regions_.check_remote(target.rkey, to.init.pd, target.address, target.bytes, IBV_ACCESS_REMOTE_WRITE);
  if (!reason.empty()) return refuse_remote(to, target.rkey, target.address, target.bytes, reason);
  const std::uint64_t end = inbound.done + packet.payload.size();
  if (end > target.bytes || info.last != (end == target.bytes)) {
    refuse(to.number, target.rkey, target.address + inbound.done, packet.payload.size(),
           refusal::invalid_request);
    return {Verdict::Kind::nak, NakCode::invalid_request};
  }
  if (info.immediate && to.rq.empty()) return {Verdict::Kind::rnr, {}};
  if (!packet.payload.empty()) {
    const Region& region = *regions_.find(target.rkey);
    const auto written = write_segments(*memory_, region.segments,
                                        target.address + inbound.done - region.first, packet.payload);
    if (!written) return refuse_part(to, target, inbound.done, packet, written.error());
  }
  inbound.done = end;
  to.inbound = inbound;
  return end_of_message(to, packet, IBV_WC_RECV_RDMA_WITH_IMM, end);
}

// Memory took so many bytes of the payload: it is the packet with the next one that is refused.
Engine::Verdict Engine::refuse_part(const QueuePair& to, const Reth& target, std::uint64_t before,
                                    const Packet& packet, std::uint64_t written) {
  const std::uint32_t part = packet.joined > 1 ? static_cast<std::uint32_t>(written / mtu(to)) : 0;
  const std::uint64_t at = std::uint64_t{part} * mtu(to);
  Verdict verdict =
      refuse_remote(to, target.rkey, target.address + before + at,
                    std::min<std::uint64_t>(packet.payload.size() - at, mtu(to)), refusal::memory_fault);
  verdict.packet = part;
  return verdict;
}

Engine::Verdict Engine::end_of_message(QueuePair& to, const Packet& packet, ibv_wc_opcode opcode,
                                       std::uint64_t bytes) {
  to.expected_psn = psn_add(packet.bth.psn, packet.joined);
  if (!packet.info().last) return {};
  to.inbound = {};
  to.msn = psn_add(to.msn, 1);
  if (opcode == IBV_WC_RECV || packet.immediate) complete_receive(to, IBV_WC_SUCCESS, opcode, bytes, &packet);
  return {};
}

Engine::Verdict Engine::execute_read(QueuePair& to, const Packet& packet) {
  const Reth& source = *packet.reth;
  const std::string_view reason =
      regions_.check_remote(source.rkey, to.init.pd, source.address, source.bytes, IBV_ACCESS_REMOTE_READ);
  if (!reason.empty()) return refuse_remote(to, source.rkey, source.address, source.bytes, reason);
  const std::uint32_t count = source.bytes == 0 ? 1 : (source.bytes - 1) / mtu(to) + 1;
  to.expected_psn = psn_add(packet.bth.psn, count);
  to.msn = psn_add(to.msn, 1);
  mem::SnapshotQueue payload;
  bool whole = true;
  if (source.bytes != 0) {
    const Region& region = *regions_.find(source.rkey);
    whole = snapshot_segments(*memory_, region.segments, source.address - region.first, source.bytes, payload)
                .has_value();
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t offset = std::uint64_t{i} * mtu(to);
    const bool first = i == 0, last = i + 1 == count;
    const Opcode opcode = first && last ? Opcode::rc_read_response_only
                          : first       ? Opcode::rc_read_response_first
                          : last        ? Opcode::rc_read_response_last
                                        : Opcode::rc_read_response_middle;
    const std::uint64_t bytes = std::min<std::uint64_t>(mtu(to), source.bytes - offset);
    if (!whole && payload.size() < bytes)
      return refuse_remote(to, source.rkey, source.address + offset, bytes, refusal::memory_fault);
    send(to.attr.ah_attr,
         response(to, opcode, psn_add(packet.bth.psn, i), syndrome_of(syndrome_ack, no_credits)),
         payload.take(bytes));
  }
  return {};
}

Engine::Verdict Engine::execute_atomic(QueuePair& to, const Packet& packet) {
  const AtomicEth& atomic = *packet.atomic;
  if (atomic.address % sizeof(std::uint64_t) != 0) {
    refuse(to.number, atomic.rkey, atomic.address, sizeof(std::uint64_t), refusal::alignment);
    return {Verdict::Kind::nak, NakCode::invalid_request};
  }
  const std::string_view reason = regions_.check_remote(atomic.rkey, to.init.pd, atomic.address,
                                                        sizeof(std::uint64_t), IBV_ACCESS_REMOTE_ATOMIC);
  if (!reason.empty()) return refuse_remote(to, atomic.rkey, atomic.address, sizeof(std::uint64_t), reason);
  const Region& region = *regions_.find(atomic.rkey);
  const std::uint64_t offset = atomic.address - region.first;
  std::uint64_t old = 0;
  const auto failed = [&] {
    return refuse_remote(to, atomic.rkey, atomic.address, sizeof old, refusal::memory_fault);
  };
  if (!read_segments(*memory_, region.segments, offset, std::as_writable_bytes(std::span{&old, 1})))
    return failed();
  if (!write_segments(*memory_, region.segments, offset, bytes_of(fetch_and_op(packet, old))))
    return failed();
  to.expected_psn = psn_add(packet.bth.psn, 1);
  to.msn = psn_add(to.msn, 1);
  to.atomics[packet.bth.psn] = old;
  if (to.atomics.size() > std::max<std::size_t>(1, to.attr.max_dest_rd_atomic))
    to.atomics.erase(std::ranges::min_element(
        to.atomics, {}, [&](const auto& known) { return psn_distance(known.first, packet.bth.psn); }));
  answer(to, Opcode::rc_atomic_acknowledge, packet.bth.psn, syndrome_of(syndrome_ack, no_credits), old);
  return {};
}

// Unreliable: what cannot be received is dropped. 9.8.3.
void Engine::on_datagram(QueuePair& to, const Packet& packet) {
  if (packet.deth->qkey != to.attr.qkey)
    return refuse(to.number, packet.deth->qkey, 0, packet.payload.size(), refusal::qkey);
  if (to.rq.empty()) return;
  const std::vector<ibv_sge>& entries = to.rq.front().sg_list;
  const std::uint64_t bytes = ud_grh_bytes + packet.payload.size();
  if (bytes > length_of(entries)) {
    refuse(to.number, 0, 0, bytes, refusal::receive_too_small);
    return complete_receive(to, IBV_WC_LOC_LEN_ERR, IBV_WC_RECV, 0, nullptr);
  }
  if (!check_entries(to, entries, IBV_ACCESS_LOCAL_WRITE).empty())
    return complete_receive(to, IBV_WC_LOC_PROT_ERR, IBV_WC_RECV, 0, nullptr);
  const bool written = scatter(entries, ud_grh_bytes, packet.payload);
  complete_receive(to, written ? IBV_WC_SUCCESS : IBV_WC_LOC_QP_OP_ERR, IBV_WC_RECV, written ? bytes : 0,
                   &packet);
}

}  // namespace cbit::dev::rdma
