#include "dev/virtio/vsock_table.hpp"

#include <algorithm>
#include <utility>

namespace cbit::dev {
namespace {

namespace op = spec::virtio_vsock_op;
namespace shutdown = spec::virtio_vsock_shutdown;

}  // namespace

// A peer that claims to have forwarded more than it was sent has no room: so has Linux,
// net/vmw_vsock/virtio_transport_common.c, virtio_transport_has_space().
std::uint32_t VsockTable::Connection::peer_free() const {
  const std::int64_t room = std::int64_t{peer_buf_alloc} - std::int64_t{sent - peer_fwd_cnt};
  return static_cast<std::uint32_t>(std::max<std::int64_t>(room, 0));
}

// ---- the table ------------------------------------------------------------------------------------------

VsockTable::Connection* VsockTable::find(VsockFlow flow) {
  const auto found = connections_.find(flow);
  return found == connections_.end() ? nullptr : &found->second;
}

VsockTable::Connection* VsockTable::add(VsockFlow flow, Connection::State state) {
  if (connections_.size() >= connections_max && !make_place()) return nullptr;
  return &connections_.emplace(flow, Connection{.state = state}).first->second;
}

bool VsockTable::make_place() {
  const auto over = std::ranges::find_if(connections_, [](const auto& one) { return one.second.released; });
  if (over == connections_.end()) return false;
  tell(over->first, op::rst);
  drop(over->first);
  return true;
}

void VsockTable::drop(VsockFlow flow) {
  const auto found = connections_.find(flow);
  if (found == connections_.end()) return;
  if (!found->second.released) backend_->close(flow);
  if (found->second.ready) std::erase(ready_, flow);
  connections_.erase(found);
}

void VsockTable::reset() {
  while (!connections_.empty()) drop(connections_.begin()->first);
  answers_.clear();
  if (backend_ == nullptr) return;
  while (const auto word = backend_->take())
    if (word->kind == VsockWord::Kind::connect) backend_->close(word->flow);
}

// ---- from the guest -------------------------------------------------------------------------------------

void VsockTable::receive(const Header& header, ConstByteSpan payload) {
  if (header.src_cid != guest_cid_) return;
  const VsockFlow flow{.host_port = header.dst_port, .guest_port = header.src_port};
  Connection* const connection = find(flow);
  if (header.dst_cid != spec::vsock_cid::host || header.type != spec::virtio_vsock_type::stream)
    refuse(header);
  else if (connection != nullptr)
    handle(flow, *connection, header, payload);
  else if (header.op == op::request)
    request(flow, header);
  else
    refuse(header);
  hear_host();
}

void VsockTable::handle(VsockFlow flow, Connection& connection, const Header& header, ConstByteSpan payload) {
  using State = Connection::State;
  connection.peer_buf_alloc = header.buf_alloc;
  connection.peer_fwd_cnt = header.fwd_cnt;
  update_ready(flow, connection);
  if (header.op == op::rst) return drop(flow);
  if (header.op == op::shutdown) return shut_by_guest(flow, connection, header);
  if (header.op == op::response && connection.state == State::asked_by_host) {
    connection.state = State::open;
    backend_->accept(flow);
    return allow(flow, connection);
  }
  if (connection.state != State::open) return refuse(header);
  switch (header.op) {
    case op::rw: return data(flow, connection, header, payload);
    case op::credit_request: tell(flow, op::credit_update); return;
    case op::credit_update: return allow(flow, connection);
    default: return refuse(header);
  }
}

void VsockTable::request(VsockFlow flow, const Header& header) {
  Connection* const connection = backend_ == nullptr ? nullptr : add(flow, Connection::State::asked_by_guest);
  if (connection == nullptr) return refuse(header);
  connection->peer_buf_alloc = header.buf_alloc;
  connection->peer_fwd_cnt = header.fwd_cnt;
  backend_->open(flow);
}

void VsockTable::data(VsockFlow flow, Connection& connection, const Header& header, ConstByteSpan payload) {
  const std::uint32_t room = buffer_bytes - (connection.received - connection.forwarded);
  if (header.len > room || (connection.guest_shut & shutdown::send) != 0) return refuse(header);
  connection.received += header.len;
  if (connection.released)
    hear_taken(flow, connection, header.len);
  else if (header.len != 0)
    backend_->write(flow, payload);
  allow(flow, connection);
}

// 5.10.6.6.: a connection that is shut in both directions ends with the other side's RST.
void VsockTable::shut_by_guest(VsockFlow flow, Connection& connection, const Header& header) {
  const std::uint32_t more = header.flags & shutdown::both & ~connection.guest_shut;
  connection.guest_shut |= more;
  if (connection.guest_shut == shutdown::both) return refuse(header);
  if (more == 0 || connection.released) return;
  if ((more & shutdown::receive) != 0) {
    connection.pending.clear();
    connection.pending_at = 0;
    update_ready(flow, connection);
  }
  backend_->shut(flow, (more & shutdown::receive) != 0, (more & shutdown::send) != 0);
  tell_shut(flow, connection);
}

void VsockTable::refuse(const Header& header) {
  if (header.dst_cid == spec::vsock_cid::host)
    drop({.host_port = header.dst_port, .guest_port = header.src_port});
  if (header.op == op::rst) return;
  answers_.push_back({.src_cid = header.dst_cid,
                      .dst_cid = header.src_cid,
                      .src_port = header.dst_port,
                      .dst_port = header.src_port,
                      .type = header.type,
                      .op = op::rst});
}

// ---- from the host --------------------------------------------------------------------------------------

void VsockTable::hear_host() {
  if (backend_ == nullptr) return;
  while (auto word = backend_->take()) hear(std::move(*word));
}

void VsockTable::hear(VsockWord word) {
  Connection* const connection = find(word.flow);
  if (word.kind == VsockWord::Kind::connect)
    call_guest(word.flow);
  else if (connection != nullptr && !connection->released)
    hear_of(word.flow, *connection, word);
}

void VsockTable::call_guest(VsockFlow flow) {
  // The host's end of that is gone, and the guest has not said yet that it knows.
  const Connection* const before = find(flow);
  if (before != nullptr && !before->released) return;
  if (before != nullptr || !has_room() || add(flow, Connection::State::asked_by_host) == nullptr)
    return backend_->close(flow);
  tell(flow, op::request);
}

void VsockTable::hear_of(VsockFlow flow, Connection& connection, const VsockWord& word) {
  using Kind = VsockWord::Kind;
  switch (word.kind) {
    case Kind::connect: return;
    case Kind::opened:
      if (connection.state != Connection::State::asked_by_guest) return;
      connection.state = Connection::State::open;
      tell(flow, op::response);
      return allow(flow, connection);
    case Kind::data: return hear_data(flow, connection, word.bytes);
    case Kind::taken: return hear_taken(flow, connection, word.count);
    case Kind::ended: return shut_by_host(flow, connection, shutdown::send);
    case Kind::deaf: return shut_by_host(flow, connection, shutdown::receive);
    case Kind::closed:
      connection.released = true;
      tell(flow, op::rst);
      return drop(flow);
  }
}

void VsockTable::hear_data(VsockFlow flow, Connection& connection, ConstByteSpan bytes) {
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), connection.allowed));
  connection.allowed -= static_cast<std::uint32_t>(bytes.size());
  if ((connection.guest_shut & shutdown::receive) != 0) return;
  Bytes& pending = connection.pending;
  pending.erase(pending.begin(),
                pending.begin() + static_cast<std::ptrdiff_t>(std::exchange(connection.pending_at, 0)));
  pending.insert(pending.end(), bytes.begin(), bytes.end());
  update_ready(flow, connection);
}

// The guest is told before it has to wait: as long as it knows of half of the buffer, it can send.
void VsockTable::hear_taken(VsockFlow flow, Connection& connection, std::uint32_t count) {
  connection.forwarded += std::min(count, connection.received - connection.forwarded);
  const std::uint32_t known_free = buffer_bytes - (connection.received - connection.forwarded_told);
  if (known_free >= buffer_bytes / 2 || connection.forwarded == connection.forwarded_told) return;
  connection.forwarded_told = connection.forwarded;
  tell(flow, op::credit_update);
}

void VsockTable::shut_by_host(VsockFlow flow, Connection& connection, std::uint32_t flags) {
  connection.host_shut |= flags;
  if (connection.state != Connection::State::open) {
    tell(flow, op::rst);
    return drop(flow);
  }
  tell_shut(flow, connection);
}

// ---- for the guest --------------------------------------------------------------------------------------

VsockTable::Packet VsockTable::next(std::uint32_t payload_max) {
  Packet packet;
  if (!answers_.empty()) {
    packet.header = answers_.front();
    answers_.pop_front();
    const VsockFlow flow{.host_port = packet.header.src_port, .guest_port = packet.header.dst_port};
    Connection* const connection = find(flow);
    if (connection != nullptr && packet.header.op != op::rst) stamp(packet.header, *connection);
    return packet;
  }
  const VsockFlow flow = ready_.front();
  ready_.pop_front();
  Connection& connection = *find(flow);
  connection.ready = false;
  packet.header = header_of(flow, op::rw);
  packet.header.len = std::min({connection.waiting(), connection.peer_free(), payload_max});
  const auto from = ConstByteSpan{connection.pending}.subspan(connection.pending_at, packet.header.len);
  packet.payload.assign(from.begin(), from.end());
  connection.pending_at += from.size();
  connection.sent += packet.header.len;
  stamp(packet.header, connection);
  update_ready(flow, connection);
  tell_shut(flow, connection);
  allow(flow, connection);
  hear_host();
  return packet;
}

void VsockTable::tell(VsockFlow flow, std::uint16_t what, std::uint32_t flags) {
  Header header = header_of(flow, what);
  header.flags = flags;
  answers_.push_back(header);
}

// That the host sends no more is told behind what it has sent.
void VsockTable::tell_shut(VsockFlow flow, Connection& connection) {
  const std::uint32_t now =
      connection.waiting() == 0 ? connection.host_shut : connection.host_shut & ~shutdown::send;
  if ((now & ~connection.host_shut_told) == 0) return;
  connection.host_shut_told |= now;
  tell(flow, op::shutdown, connection.host_shut_told);
  if (connection.host_shut_told != shutdown::both) return;
  backend_->close(flow);
  connection.released = true;
}

void VsockTable::allow(VsockFlow flow, Connection& connection) {
  constexpr std::uint32_t worth_saying = buffer_bytes / 2;
  if (((connection.guest_shut & shutdown::receive) | (connection.host_shut & shutdown::send)) != 0) return;
  const std::uint32_t room = std::min(connection.peer_free(), buffer_bytes);
  const std::uint32_t known = connection.waiting() + connection.allowed;
  if (room <= known || room - known < std::min(room, worth_saying)) return;
  connection.allowed += room - known;
  backend_->allow(flow, room - known);
}

void VsockTable::update_ready(VsockFlow flow, Connection& connection) {
  if (connection.may_send() == connection.ready) return;
  connection.ready = !connection.ready;
  if (connection.ready)
    ready_.push_back(flow);
  else
    std::erase(ready_, flow);
}

VsockTable::Header VsockTable::header_of(VsockFlow flow, std::uint16_t what) const {
  return {.src_cid = spec::vsock_cid::host,
          .dst_cid = guest_cid_,
          .src_port = flow.host_port,
          .dst_port = flow.guest_port,
          .type = spec::virtio_vsock_type::stream,
          .op = what};
}

void VsockTable::stamp(Header& header, Connection& connection) const {
  header.buf_alloc = buffer_bytes;
  header.fwd_cnt = connection.forwarded;
  connection.forwarded_told = connection.forwarded;
}

}  // namespace cbit::dev
