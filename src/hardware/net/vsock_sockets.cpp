#include "net/vsock_sockets.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"

namespace cbit::net {
namespace {

using dev::VsockFlow;
using dev::VsockWord;
using Kind = VsockWord::Kind;

constexpr std::size_t line_bytes_max = 32;
constexpr std::string_view connect_word = "connect";
constexpr std::uint32_t any_port = 0xffff'ffff;  // VMADDR_PORT_ANY: include/uapi/linux/vm_sockets.h
constexpr int callers_waiting_max = 128;
constexpr std::chrono::seconds farewell_most{2};

bool is_for_later(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

// "CONNECT 52"; nullopt: it says something else.
std::optional<std::uint32_t> port_in(std::string_view line) {
  const std::vector<std::string_view> words = words_of(line);
  if (words.size() != 2) return std::nullopt;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (!std::ranges::equal(words[0], connect_word, {}, lower)) return std::nullopt;
  const auto port = decimal(words[1]);
  if (!port || *port > any_port) return std::nullopt;
  return static_cast<std::uint32_t>(*port);
}

// Closed: nobody listens there.
os::Descriptor connect_to(const std::string& path) {
  os::Descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  const bool done = socket.is_open() &&
                    os::retry([&] {
                      return ::connect(socket.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address);
                    }) == 0;
  if (!done) socket.reset();
  return socket;
}

// How much went; nullopt: the other end takes nothing any more.
std::optional<std::size_t> send_some(int fd, ConstByteSpan bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ConstByteSpan rest = bytes.subspan(sent);
    const ssize_t count =
        os::retry([&] { return ::send(fd, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (count < 0 && !is_for_later(errno)) return std::nullopt;
    if (count < 0) break;
    sent += static_cast<std::size_t>(count);
  }
  return sent;
}

void take_front(Bytes& bytes, std::size_t count) {
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
}

short events_at(const os::PollSet& set, std::optional<std::size_t> number) {
  return number ? set.came(*number) : short{0};
}

}  // namespace

OrError<std::unique_ptr<VsockSockets>> VsockSockets::create(const std::string& path) {
  static_assert(path_bytes_max + std::string_view{"_4294967295"}.size() < sizeof sockaddr_un{}.sun_path);
  if (path.empty())
    return usage_error("a socket without a name", "give the path of a file that is not there");
  if (path.size() > path_bytes_max)
    return usage_error(
        fmt::format("\"{}\" is too long for the name of a socket, to which ports are added", safe_line(path)),
        fmt::format("choose one of at most {} bytes", path_bytes_max));
  os::ServerSocket listener = CBIT_TRY(os::ServerSocket::listen("unix:" + path, callers_waiting_max));
  return std::unique_ptr<VsockSockets>{new VsockSockets{path, std::move(listener)}};
}

// The process has other files, too.
VsockSockets::VsockSockets(std::string path, os::ServerSocket listener)
    : path_{std::move(path)},
      listener_{std::move(listener)},
      sockets_max_{std::min(sockets_max, os::raise_descriptor_limit() / 2)} {}

VsockSockets::~VsockSockets() {
  using Clock = std::chrono::steady_clock;
  while (!streams_.empty()) close(streams_.begin()->first);
  const auto deadline = Clock::now() + farewell_most;
  while (!lingering_.empty() && Clock::now() < deadline) {
    os::PollSet set;
    set.limit(deadline - Clock::now());
    for (Stream& stream : lingering_) stream.polled = set.add(stream.socket.fd(), POLLOUT);
    set.wait();
    drop_lingering(set);
  }
}

VsockSockets::Stream* VsockSockets::find(VsockFlow flow) {
  const auto found = streams_.find(flow);
  return found == streams_.end() ? nullptr : &found->second;
}

bool VsockSockets::is_full() const {
  return callers_.size() + streams_.size() + lingering_.size() >= sockets_max_;
}

// ---- what the guest does --------------------------------------------------------------------------------

void VsockSockets::open(VsockFlow flow) {
  os::Descriptor socket;
  if (!is_full() && find(flow) == nullptr) socket = connect_to(fmt::format("{}_{}", path_, flow.host_port));
  if (!socket.is_open()) return say({.kind = Kind::closed, .flow = flow, .bytes = {}});
  streams_[flow].socket = std::move(socket);
  say({.kind = Kind::opened, .flow = flow, .bytes = {}});
}

// The line is the first that goes out: there is room for it.
void VsockSockets::accept(VsockFlow flow) {
  Stream* const stream = find(flow);
  if (stream == nullptr) return;
  const std::string line = fmt::format("OK {}\n", flow.host_port);
  if (send_some(stream->socket.fd(), std::as_bytes(std::span{line})) != line.size())
    become_deaf(flow, *stream);
}

void VsockSockets::write(VsockFlow flow, ConstByteSpan bytes) {
  Stream* const stream = find(flow);
  if (stream == nullptr) return;
  stream->unsent.insert(stream->unsent.end(), bytes.begin(), bytes.end());
  flush(flow, *stream);
}

void VsockSockets::allow(VsockFlow flow, std::uint32_t bytes) {
  Stream* const stream = find(flow);
  if (stream == nullptr) return;
  stream->allowed += bytes;
  read_from(flow, *stream);
}

void VsockSockets::shut(VsockFlow flow, bool takes_no_more, bool sends_no_more) {
  Stream* const stream = find(flow);
  if (stream == nullptr) return;
  if (takes_no_more) {
    stream->guest_takes = false;
    ::shutdown(stream->socket.fd(), SHUT_RD);
  }
  if (!sends_no_more) return;
  stream->guest_sends = false;
  flush(flow, *stream);
}

void VsockSockets::close(VsockFlow flow) {
  const auto found = streams_.find(flow);
  if (found == streams_.end()) return;
  if (!found->second.unsent.empty()) lingering_.push_back(std::move(found->second));
  streams_.erase(found);
}

// ---- what the host does ---------------------------------------------------------------------------------

void VsockSockets::prepare(os::PollSet& set) {
  polled_ = is_full() ? Polled{} : Polled{set.add(listener_.fd(), POLLIN)};
  for (Caller& caller : callers_) caller.polled = set.add(caller.socket.fd(), POLLIN);
  for (Stream& stream : lingering_) stream.polled = set.add(stream.socket.fd(), POLLOUT);
  for (auto& [flow, stream] : streams_) {
    const bool reads = stream.allowed != 0 && stream.guest_takes && !stream.ended;
    const int events = (reads ? POLLIN : 0) | (stream.unsent.empty() ? 0 : POLLOUT);
    // Of who has hung up, that would be told again and again.
    stream.polled = stream.deaf && events == 0
                        ? Polled{}
                        : Polled{set.add(stream.socket.fd(), static_cast<short>(events))};
  }
}

void VsockSockets::serve(const os::PollSet& set) {
  answer_callers(set);
  for (auto& [flow, stream] : streams_) serve_stream(flow, stream, events_at(set, stream.polled));
  drop_lingering(set);
  notify();
}

void VsockSockets::drop_lingering(const os::PollSet& set) {
  std::erase_if(lingering_, [&set](Stream& stream) {
    if (events_at(set, stream.polled) == 0) return false;
    const auto sent = send_some(stream.socket.fd(), stream.unsent);
    if (sent) take_front(stream.unsent, *sent);
    return !sent || stream.unsent.empty();
  });
}

void VsockSockets::answer_callers(const os::PollSet& set) {
  std::erase_if(callers_,
                [&](Caller& caller) { return events_at(set, caller.polled) != 0 && !listen_to(caller); });
  if (events_at(set, polled_) == 0) return;
  while (!is_full()) {
    auto connection = listener_.accept(std::chrono::milliseconds{0});
    if (!connection) break;
    Caller& caller = callers_.emplace_back(Caller{std::move(*connection).release(), {}, {}});
    if (!listen_to(caller)) callers_.pop_back();
  }
}

// What is behind the line is the guest's.
bool VsockSockets::listen_to(Caller& caller) {
  std::array<char, line_bytes_max> buffer;
  const std::size_t room = buffer.size() - caller.line.size();
  const auto receive = [&](std::size_t bytes, int flags) {
    return os::retry([&] { return ::recv(caller.socket.fd(), buffer.data(), bytes, MSG_DONTWAIT | flags); });
  };
  const ssize_t seen = receive(room, MSG_PEEK);
  if (seen < 0) return is_for_later(errno);
  const std::string_view text{buffer.data(), static_cast<std::size_t>(seen)};
  const std::size_t end = text.find('\n');
  const bool is_whole = end != std::string_view::npos;
  const std::size_t wanted = is_whole ? end + 1 : text.size();
  if (wanted == 0 || (!is_whole && wanted == room) || receive(wanted, 0) != static_cast<ssize_t>(wanted))
    return false;
  caller.line.append(text.substr(0, wanted));
  if (!is_whole) return true;
  if (const auto port = port_in(trimmed(caller.line))) connect_caller(caller, *port);
  return false;
}

void VsockSockets::connect_caller(Caller& caller, std::uint32_t guest_port) {
  VsockFlow flow{.host_port = 0, .guest_port = guest_port};
  do {
    flow.host_port = next_port_++;
    if (next_port_ == any_port) next_port_ = first_port;
  } while (find(flow) != nullptr);
  streams_[flow].socket = std::move(caller.socket);
  say({.kind = Kind::connect, .flow = flow, .bytes = {}});
}

void VsockSockets::serve_stream(VsockFlow flow, Stream& stream, short came) {
  if ((came & POLLOUT) != 0) flush(flow, stream);
  if ((came & POLLIN) != 0) read_from(flow, stream);
  if ((came & (POLLHUP | POLLERR)) == 0) return;
  become_deaf(flow, stream);
  if (!stream.guest_takes) become_silent(flow, stream);
}

void VsockSockets::read_from(VsockFlow flow, Stream& stream) {
  while (stream.allowed != 0 && stream.guest_takes && !stream.ended) {
    Bytes bytes(stream.allowed);
    const ssize_t count =
        os::retry([&] { return ::recv(stream.socket.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT); });
    if (count < 0 && is_for_later(errno)) return;
    if (count <= 0) return become_silent(flow, stream);
    bytes.resize(static_cast<std::size_t>(count));
    stream.allowed -= static_cast<std::uint32_t>(count);
    say({.kind = Kind::data, .flow = flow, .bytes = std::move(bytes)});
  }
}

void VsockSockets::flush(VsockFlow flow, Stream& stream) {
  const auto sent = stream.deaf ? std::nullopt : send_some(stream.socket.fd(), stream.unsent);
  if (!sent) {
    const auto lost = static_cast<std::uint32_t>(stream.unsent.size());
    if (lost != 0) say({.kind = Kind::taken, .flow = flow, .count = lost, .bytes = {}});
    stream.unsent.clear();
    return become_deaf(flow, stream);
  }
  take_front(stream.unsent, *sent);
  if (*sent != 0)
    say({.kind = Kind::taken, .flow = flow, .count = static_cast<std::uint32_t>(*sent), .bytes = {}});
  if (!stream.guest_sends && stream.unsent.empty()) ::shutdown(stream.socket.fd(), SHUT_WR);
}

void VsockSockets::become_deaf(VsockFlow flow, Stream& stream) {
  if (std::exchange(stream.deaf, true)) return;
  flush(flow, stream);
  say({.kind = Kind::deaf, .flow = flow, .bytes = {}});
}

void VsockSockets::become_silent(VsockFlow flow, Stream& stream) {
  if (std::exchange(stream.ended, true)) return;
  say({.kind = Kind::ended, .flow = flow, .bytes = {}});
}

}  // namespace cbit::net
