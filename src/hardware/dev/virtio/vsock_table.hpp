// The connections of a vsock device: which there are, who may send how much, and what is to be told to whom.
// VIRTIO 1.2, 5.10.6. It knows packets and the host's words; queues are its owner's.
//
// The guest is not trusted. What is no packet of a connection is answered with RST, and so is what breaks a
// connection's rules: more than there was room for, data before or behind the connection. A packet from
// another CID than the guest's is nobody's, as in Linux' drivers/vhost/vsock.c.
//
// Bounded: connections, bytes of each in both directions, and answers that the guest does not fetch: its
// owner takes no packet without has_room(). A connection whose end at the host is gone waits for the guest's
// RST, until its place is wanted for another. Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "dev/vsock_backend.hpp"
#include "spec/virtio_vsock.hpp"

namespace cbit::dev {

class VsockTable {
 public:
  static constexpr std::size_t connections_max = 1024;
  static constexpr std::size_t answers_max = 256;
  // What a connection has for what the guest sends, and waits with of what the host does.
  static constexpr std::uint32_t buffer_bytes = 64 << 10;

  struct Packet {
    spec::VirtioVsockHdr header;
    Bytes payload;
  };

  // `backend` outlives the table; nullptr: nobody listens, and nobody calls.
  VsockTable(std::uint64_t guest_cid, VsockBackend* backend) : guest_cid_{guest_cid}, backend_{backend} {}

  // A packet of the guest's. `payload`: header.len bytes, or none where those are more than buffer_bytes.
  void receive(const spec::VirtioVsockHdr& header, ConstByteSpan payload);
  // Takes what the host has said.
  void hear_host();
  // For the answer to another packet.
  [[nodiscard]] bool has_room() const { return answers_.size() < answers_max; }

  // There is something for the guest; the next of it, with no more than so much payload, which is not 0.
  [[nodiscard]] bool has_packets() const { return !answers_.empty() || !ready_.empty(); }
  [[nodiscard]] Packet next(std::uint32_t payload_max);

  // The driver is gone.
  void reset();

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  using Header = spec::VirtioVsockHdr;
  struct Connection {
    enum class State : std::uint8_t { asked_by_host, asked_by_guest, open };
    State state{};
    bool released = false;  // the host's end is gone
    bool ready = false;     // in ready_
    // From the guest to the host; counters run free, as in packets.
    std::uint32_t received = 0;
    std::uint32_t forwarded = 0;
    std::uint32_t forwarded_told = 0;
    // From the host to the guest.
    std::uint32_t peer_buf_alloc = 0;
    std::uint32_t peer_fwd_cnt = 0;
    std::uint32_t sent = 0;
    std::uint32_t allowed = 0;  // to the host, and not used yet
    Bytes pending;
    std::size_t pending_at = 0;
    // spec::virtio_vsock_shutdown.
    std::uint32_t guest_shut = 0;
    std::uint32_t host_shut = 0;
    std::uint32_t host_shut_told = 0;

    [[nodiscard]] std::uint32_t waiting() const {
      return static_cast<std::uint32_t>(pending.size() - pending_at);
    }
    [[nodiscard]] std::uint32_t peer_free() const;
    [[nodiscard]] bool may_send() const { return state == State::open && waiting() != 0 && peer_free() != 0; }
  };

  [[nodiscard]] Connection* find(VsockFlow flow);
  // nullptr: there is no place for another.
  Connection* add(VsockFlow flow, Connection::State state);
  bool make_place();
  // Forgets it; the host's end is told.
  void drop(VsockFlow flow);

  void handle(VsockFlow flow, Connection& connection, const Header& header, ConstByteSpan payload);
  void request(VsockFlow flow, const Header& header);
  void data(VsockFlow flow, Connection& connection, const Header& header, ConstByteSpan payload);
  void shut_by_guest(VsockFlow flow, Connection& connection, const Header& header);
  // The packet has no place, and its connection, if there is one, is over.
  void refuse(const Header& header);

  void hear(VsockWord word);
  void call_guest(VsockFlow flow);
  void hear_of(VsockFlow flow, Connection& connection, const VsockWord& word);
  void hear_data(VsockFlow flow, Connection& connection, ConstByteSpan bytes);
  void hear_taken(VsockFlow flow, Connection& connection, std::uint32_t count);
  // The host's end does less from now on, or is gone.
  void shut_by_host(VsockFlow flow, Connection& connection, std::uint32_t flags);

  void tell(VsockFlow flow, std::uint16_t op, std::uint32_t flags = 0);
  void tell_shut(VsockFlow flow, Connection& connection);
  // Lets the host send as much as the guest and the buffer have room for.
  void allow(VsockFlow flow, Connection& connection);
  void update_ready(VsockFlow flow, Connection& connection);
  [[nodiscard]] Header header_of(VsockFlow flow, std::uint16_t op) const;
  void stamp(Header& header, Connection& connection) const;

  std::uint64_t guest_cid_;
  VsockBackend* backend_;
  std::map<VsockFlow, Connection> connections_;
  std::deque<Header> answers_;
  std::deque<VsockFlow> ready_;  // connections whose data the guest has room for
};

}  // namespace cbit::dev
