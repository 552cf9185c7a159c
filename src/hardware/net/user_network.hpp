// A network of the host's that needs no rights: libslirp, as QEMU's `-netdev user`. What the guest sends as
// Ethernet becomes this process's own sockets, and back. The guest is at .15, the host at .2 (its loopback,
// too, unless the network is restricted), a name server at .3 that asks the host's, with DHCP. In IPv6 the
// host is at ::2 and the name server at ::3 of the prefix, of which a router's advertisements tell; the guest
// is where its device's address puts it.
//
// A guest has as many connections as the process may have files. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "dev/net_backend.hpp"

namespace cbit::net {

using Ipv4 = std::uint32_t;  // the first byte is the highest: 10.0.2.15 is 0a00'020fh

using Ipv6 = std::array<std::uint8_t, 16>;  // as it goes over a wire

// "10.0.2.15", and nothing else.
[[nodiscard]] std::optional<Ipv4> parse_ipv4(std::string_view text);
[[nodiscard]] std::string to_text(Ipv4 address);
// "fec0::2", and nothing else.
[[nodiscard]] std::optional<Ipv6> parse_ipv6(std::string_view text);
[[nodiscard]] std::string to_text(const Ipv6& address);

// A port of the host's that leads to one of the guest's.
struct PortForward {
  enum class Protocol : std::uint8_t { tcp, udp };
  Protocol protocol{};
  Ipv4 host = 0;  // 0: all of the host's addresses
  std::uint16_t host_port = 0;
  Ipv4 guest = 0;  // 0: the one that DHCP gives
  std::uint16_t guest_port = 0;
};

// QEMU's networks: net/slirp.c.
inline constexpr Ipv4 default_user_network = 0x0a00'0200;
inline constexpr Ipv6 default_user_prefix{0xfe, 0xc0};
inline constexpr unsigned ipv6_prefix_bits = 64;  // what an interface makes its own address of

struct UserNetworkOptions {
  bool ipv4 = true;
  bool ipv6 = true;             // at least one of them
  std::optional<Ipv4> network;  // nullopt: default_user_network
  unsigned prefix_bits = 24;    // 8 to 27
  std::optional<Ipv6> prefix;   // of 64 bits; nullopt: default_user_prefix
  // The guest reaches nothing of the host's, nor anything through it; what is forwarded reaches the guest.
  bool restricted = false;
  std::vector<PortForward> forwards;

  [[nodiscard]] Ipv4 base() const { return network.value_or(default_user_network); }
  [[nodiscard]] Ipv4 host() const { return base() | 2; }
  [[nodiscard]] Ipv4 name_server() const { return base() | 3; }
  [[nodiscard]] Ipv4 guest() const { return base() | 15; }
  [[nodiscard]] Ipv6 base6() const { return prefix.value_or(default_user_prefix); }
  [[nodiscard]] Ipv6 host6() const;
  [[nodiscard]] Ipv6 name_server6() const;
  // Of a guest whose device has this address.
  [[nodiscard]] Ipv6 guest6(const dev::MacAddress& device) const;
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
