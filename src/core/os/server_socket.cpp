#include "os/server_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/safe_text.hpp"
#include "base/text.hpp"

namespace cbit::os {
namespace {

constexpr std::string_view address_forms = "write tcp::1234, tcp:HOST:1234, 1234, or unix:PATH";
// A peer that takes nothing for so long is given up.
constexpr std::chrono::milliseconds send_most{2000};

bool wait_for(int fd, short events, std::chrono::milliseconds most) {
  pollfd one{.fd = fd, .events = events, .revents = 0};
  return retry([&] { return ::poll(&one, 1, static_cast<int>(most.count())); }) > 0;
}

tl::unexpected<Error> cannot_listen(std::string_view address, int reason) {
  return bad_input(
      fmt::format("cannot listen at {}: {}", safe_line(address), std::strerror(reason)),
      reason == EADDRINUSE ? "somebody else does: take another, or port 0 for any that is free" : "");
}

std::string name_of_tcp(int fd) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(fd, generic, &bytes) != 0 ||
      ::getnameinfo(generic, bytes, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "?";
  if (address.ss_family == AF_INET6) return fmt::format("[{}]:{}", host.data(), port.data());
  return fmt::format("{}:{}", host.data(), port.data());
}

}  // namespace

bool Connection::receive(std::string& to, std::chrono::milliseconds most) {
  to.clear();
  if (!wait_for(descriptor_.fd(), POLLIN, most)) return true;
  std::array<char, 16384> buffer;
  const ssize_t count =
      retry([&] { return ::recv(descriptor_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT); });
  if (count < 0) return errno == EAGAIN;
  to.assign(buffer.data(), static_cast<std::size_t>(count));
  return count > 0;
}

bool Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = retry(
        [&] { return ::send(descriptor_.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (count > 0)
      bytes.remove_prefix(static_cast<std::size_t>(count));
    else if (errno != EAGAIN || !wait_for(descriptor_.fd(), POLLOUT, send_most))
      return false;
  }
  return true;
}

OrError<ServerSocket> ServerSocket::listen(std::string_view address, int waiting_max) {
  constexpr std::string_view tcp = "tcp:", file = "unix:";
  if (address.starts_with(file) && address.size() > file.size())
    return listen_unix(address.substr(file.size()), waiting_max);
  std::string_view host, port = address;
  if (address.starts_with(tcp)) {
    const std::size_t colon = address.rfind(':');
    host = address.substr(tcp.size(), std::max(colon, tcp.size()) - tcp.size());
    port = colon < tcp.size() ? std::string_view{} : address.substr(colon + 1);
  }
  const auto number = decimal(port);
  if (!number || *number > 65535)
    return usage_error(fmt::format("\"{}\" is no address to listen at", safe_line(address)),
                       std::string{address_forms});
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return listen_tcp(address, host.empty() ? "127.0.0.1" : host, port, waiting_max);
}

OrError<ServerSocket> ServerSocket::listen_tcp(std::string_view address, std::string_view host,
                                               std::string_view port, int waiting_max) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int unknown = ::getaddrinfo(std::string{host}.c_str(), std::string{port}.c_str(), &hints, &raw);
  if (unknown != 0)
    return bad_input(fmt::format("cannot listen at {}: {}", safe_line(address), ::gai_strerror(unknown)),
                     std::string{address_forms});
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> found{raw, &::freeaddrinfo};
  Descriptor descriptor{::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const int on = 1;
  if (!descriptor.is_open() || ::setsockopt(descriptor.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(descriptor.fd(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(descriptor.fd(), waiting_max) != 0)
    return cannot_listen(address, errno);
  std::string where = name_of_tcp(descriptor.fd());
  return ServerSocket{std::move(descriptor), std::move(where)};
}

OrError<ServerSocket> ServerSocket::listen_unix(std::string_view path, int waiting_max) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return usage_error(fmt::format("\"{}\" is too long for the name of a socket", safe_line(path)),
                       "choose one of at most 107 bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  Descriptor descriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const std::filesystem::path file{path};
  const std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  Descriptor held{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const SignalsHeld no_signals;
  const mode_t before = ::umask(0177);
  const bool bound = descriptor.is_open() && held.is_open() &&
                     ::bind(descriptor.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const int reason = errno;
  ::umask(before);
  if (!bound)
    return reason == EADDRINUSE
               ? bad_input(fmt::format("cannot listen at {}: it exists already", safe_line(path)),
                           "remove it if nobody listens there any more")
               : bad_input(fmt::format("cannot listen at {}: {}", safe_line(path), std::strerror(reason)),
                           "name a file in a folder where you may make one");
  ServerSocket made{std::move(descriptor), std::string{path}};
  made.folder_ = std::move(held);
  made.name_ = file.filename().string();
  made.cleanup_ = Cleanup::file(made.folder_.fd(), made.name_);
  if (::listen(made.descriptor_.fd(), waiting_max) != 0) return cannot_listen(path, errno);
  return made;
}

ServerSocket::~ServerSocket() {
  if (folder_.is_open()) ::unlinkat(folder_.fd(), name_.c_str(), 0);
}

std::optional<Connection> ServerSocket::accept(std::chrono::milliseconds most) {
  if (!wait_for(descriptor_.fd(), POLLIN, most)) return std::nullopt;
  Descriptor peer{retry([&] { return ::accept4(descriptor_.fd(), nullptr, nullptr, SOCK_CLOEXEC); })};
  if (!peer.is_open()) return std::nullopt;
  const int on = 1;  // replies are small, and waited for; a file's socket has no such option
  (void)::setsockopt(peer.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return Connection{std::move(peer)};
}

}  // namespace cbit::os
