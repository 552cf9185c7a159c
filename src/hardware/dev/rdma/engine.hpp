// The transport of an RDMA NIC: protection domains, memory regions, completion queues and queue pairs (RC and
// UD), and what they make of packets and work requests. The NIC of dev/rdma/rdma_nic.hpp runs it over a
// DmaPort; software RDMA (kernel/rdma/rxe.hpp) over a CPU.
//
//   engine.cpp      objects, the QP state machine, completions
//   requester.cpp   send queues: requests out, responses in
//   responder.cpp   receive side: requests in, responses out
//
// Nothing that a peer sends, and no work request, reaches memory outside a region that its key, protection
// domain, rights and bounds allow; what they do not is an RdmaRefused event and a NAK or a completion with an
// error. Retries have no clock: tick() is the time-out, and the application's polls tick.
// Errors: Result<..., int> with a positive errno. Threading: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>

#include "base/trace.hpp"
#include "dev/rdma/queue_pair.hpp"

namespace cbit::dev::rdma {

struct EngineConfig {
  NameId device = 0;
  Agent agent;  // who acts, in events
  ibv_device_attr limits;
};

class Engine {
 public:
  // Headers and padding are still to be added (WirePacket::put()).
  using Send = std::function<void(PortAddress to, const Packet& packet, mem::Snapshot&& payload)>;

  // All outlive the engine.
  Engine(RegionMemory& memory, Tracer& tracer, EngineConfig config, Send send)
      : memory_{&memory}, tracer_{&tracer}, config_{config}, send_{std::move(send)} {}

  // ---- what the driver asks for ----
  // ENOMEM: no more of them.
  Result<std::uint32_t, int> register_region(Region region);
  bool deregister_region(std::uint32_t key) { return regions_.remove(key); }
  [[nodiscard]] const RegionTable& regions() const { return regions_; }

  // `ring` holds entries * sizeof(Cqe) zeroed bytes.
  Result<std::uint32_t, int> create_cq(std::uint32_t entries, std::vector<Segment> ring);
  // EBUSY: a queue pair uses it. EINVAL: there is none.
  Result<void, int> destroy_cq(std::uint32_t cq);
  // The doorbell of the consumer index: so many entries have been taken since the CQ was made.
  void consumed(std::uint32_t cq, std::uint64_t entries);

  // EINVAL: a type or capacity that the NIC does not have, or unknown CQs.
  Result<std::uint32_t, int> create_qp(const QueuePairInit& init);
  Result<void, int> destroy_qp(std::uint32_t qp);
  // drivers/infiniband/core/verbs.c ib_modify_qp_is_ok(): EINVAL for a transition that does not exist, a
  // missing or an unwanted attribute.
  Result<void, int> modify_qp(std::uint32_t qp, const ibv_qp_attr& attr, unsigned mask);
  // nullptr: there is none.
  [[nodiscard]] const QueuePair* find_qp(std::uint32_t qp) const;

  // EINVAL: not in this state, too many scatter/gather entries; ENOMEM: the queue is full. `inline_data`
  // stands for the gather list of an IBV_SEND_INLINE request.
  Result<void, int> post_send(std::uint32_t qp, const ibv_send_wr& wr, Bytes inline_data = {});
  Result<void, int> post_recv(std::uint32_t qp, const ibv_recv_wr& wr);

  // ---- the wire ----
  void receive(PortAddress from, const WirePacket& packet);
  // Takes the first frame, or as many as are one RDMA write whose bytes lie one behind the other: they go to
  // memory at once, and else it is as if they had come one by one. How many were taken.
  std::size_t receive(std::span<const Frame> frames);
  // A time-out of every queue pair that waits for its peer.
  void tick();

  // The oldest; nullopt: nothing has happened.
  [[nodiscard]] std::optional<ibv_async_event> take_async_event();

 private:
  // ---- engine.cpp ----
  [[nodiscard]] QueuePair* qp(std::uint32_t number);
  // Whose the packet is; nullptr: it is dropped.
  [[nodiscard]] QueuePair* addressee(PortAddress from, const Packet& packet);
  void receive(QueuePair& to, const Packet& packet);
  void complete(QueuePair& qp, std::uint32_t cq, Cqe entry);
  void complete_send(QueuePair& qp, const SendWork& work, ibv_wc_status status);
  void complete_receive(QueuePair& qp, ibv_wc_status status, ibv_wc_opcode opcode, std::uint64_t bytes,
                        const Packet* packet);
  // To the state ERR: all that is queued is flushed.
  void fail(QueuePair& qp);
  void fail(QueuePair& qp, ibv_event_type event);
  void flush(QueuePair& qp);
  void flush_sends(QueuePair& qp);
  // A send work request of this queue pair failed here: RC goes to ERR, UD to SQE.
  void fail_sends(QueuePair& qp);
  // In SQD: says so when the last request that was sent is finished.
  void note_drained(QueuePair& qp);
  void reset(QueuePair& qp);
  void refuse(std::uint32_t qp, std::uint32_t key, std::uint64_t at, std::uint64_t bytes,
              std::string_view reason);

  // ---- scatter and gather, for both sides ----
  // The reason why one of the entries may not be accessed so; reported.
  std::string_view check_entries(const QueuePair& qp, const std::vector<ibv_sge>& entries, unsigned access);
  // False at a fault, as below: what lies before it was moved.
  bool gather(const std::vector<ibv_sge>& entries, std::uint64_t bytes, mem::SnapshotQueue& to);
  bool scatter(const std::vector<ibv_sge>& entries, std::uint64_t offset, ConstByteSpan from);
  [[nodiscard]] static std::uint64_t length_of(const std::vector<ibv_sge>& entries);

  void send(PortAddress to, const Packet& packet, mem::Snapshot payload = {}) {
    send_(to, packet, std::move(payload));
  }

  // ---- requester.cpp ----
  void transmit(QueuePair& qp);
  // False when the queue pair failed.
  bool start(QueuePair& qp, SendWork& work);
  bool send_message(QueuePair& qp, SendWork& work);
  bool send_datagram(QueuePair& qp, const SendWork& work);
  void send_read_or_atomic(QueuePair& qp, const SendWork& work);
  // All of it at once; what lies before a fault comes, too.
  bool read_payload(const SendWork& work, mem::SnapshotQueue& to);
  // The first unfinished request ends with this status, and the queue pair with it.
  void fail_request(QueuePair& qp, ibv_wc_status status);
  void on_response(QueuePair& qp, const Packet& packet);
  void on_acknowledge(QueuePair& qp, const Packet& packet);
  void on_nak(QueuePair& qp, const Packet& packet);
  void on_read_response(QueuePair& qp, SendWork& work, const Packet& packet);
  void on_atomic_response(QueuePair& qp, SendWork& work, const Packet& packet);
  // All requests up to this PSN have arrived; reads and atomics end with their own response.
  void acknowledged(QueuePair& qp, std::uint32_t psn);
  void retransmit(QueuePair& qp);

  // ---- responder.cpp ----
  static void join_write(const QueuePair& qp, Packet& first, std::span<const Frame> next);
  void on_request(QueuePair& qp, const Packet& packet);
  void on_duplicate(QueuePair& qp, const Packet& packet);
  void on_datagram(QueuePair& qp, const Packet& packet);
  // What a request led to.
  struct Verdict {
    enum class Kind : std::uint8_t { done, rnr, nak } kind = Kind::done;
    NakCode nak{};
    std::uint32_t packet = 0;  // which of those that were joined was refused
  };
  [[nodiscard]] bool in_sequence(const QueuePair& qp, const OpcodeInfo& info, const Packet& packet) const;
  Verdict execute(QueuePair& qp, const Packet& packet);
  Verdict execute_send(QueuePair& qp, const Packet& packet);
  Verdict execute_write(QueuePair& qp, const Packet& packet);
  Verdict execute_read(QueuePair& qp, const Packet& packet);
  Verdict execute_atomic(QueuePair& qp, const Packet& packet);
  Verdict refuse_part(const QueuePair& qp, const Reth& target, std::uint64_t before, const Packet& packet,
                      std::uint64_t written);
  Verdict end_of_message(QueuePair& qp, const Packet& packet, ibv_wc_opcode opcode, std::uint64_t bytes);
  Verdict refuse_remote(const QueuePair& qp, std::uint32_t key, std::uint64_t at, std::uint64_t bytes,
                        std::string_view reason);
  void answer(const QueuePair& qp, Opcode opcode, std::uint32_t psn, Syndrome syndrome,
              std::optional<std::uint64_t> atomic_ack = {});
  [[nodiscard]] static std::uint32_t mtu(const QueuePair& qp) { return bytes_of_mtu(qp.attr.path_mtu); }

  RegionMemory* memory_;
  Tracer* tracer_;
  EngineConfig config_;
  Send send_;
  RegionTable regions_;
  std::map<std::uint32_t, CompletionQueue> cqs_;
  std::map<std::uint32_t, QueuePair> qps_;
  std::uint32_t next_cq_ = 1;
  std::uint32_t next_qp_ = 2;  // 0 and 1 are the management queue pairs
  std::deque<ibv_async_event> events_;
};

[[nodiscard]] std::string_view to_string(ibv_wc_opcode opcode);

}  // namespace cbit::dev::rdma
