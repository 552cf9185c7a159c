// A network of the host's that needs no rights: libslirp, as QEMU's `-netdev user`. What the guest sends as
// Ethernet becomes this process's own sockets, and back. IPv4: the guest at .15, the host at .2 (its
// loopback, too, unless the network is restricted), a name server at .3 that asks the host's, DHCP.
//
// A guest has as many connections as the process may have files. Threading: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "dev/net_backend.hpp"

namespace cbit::net {

using Ipv4 = std::uint32_t;  // the first byte is the highest: 10.0.2.15 is 0a00'020fh

// "10.0.2.15", and nothing else.
[[nodiscard]] std::optional<Ipv4> parse_ipv4(std::string_view text);
[[nodiscard]] std::string to_text(Ipv4 address);

// A port of the host's that leads to one of the guest's.
struct PortForward {
  enum class Protocol : std::uint8_t { tcp, udp };
  Protocol protocol{};
  Ipv4 host = 0;  // 0: all of the host's addresses
  std::uint16_t host_port = 0;
  Ipv4 guest = 0;  // 0: the one that DHCP gives
  std::uint16_t guest_port = 0;
};

struct UserNetworkOptions {
  Ipv4 network = 0x0a00'0200;
  unsigned prefix_bits = 24;  // 8 to 27
  // The guest reaches nothing of the host's, nor anything through it; what is forwarded reaches the guest.
  bool restricted = false;
  std::vector<PortForward> forwards;

  [[nodiscard]] Ipv4 host() const { return network | 2; }
  [[nodiscard]] Ipv4 name_server() const { return network | 3; }
  [[nodiscard]] Ipv4 guest() const { return network | 15; }
};

class UserNetwork final : public dev::NetBackend {
 public:
  // Errors (input): a port cannot be forwarded, with the system's reason.
  static OrError<std::unique_ptr<UserNetwork>> create(const UserNetworkOptions& options);
  ~UserNetwork() override;

  bool receive(ConstByteSpan frame) override;
  void prepare(os::PollSet& set) override;
  void serve(const os::PollSet& set) override;

 private:
  class Stack;
  UserNetwork();

  std::unique_ptr<Stack> stack_;
};

}  // namespace cbit::net
