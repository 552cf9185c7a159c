// A PC's networks: for each a device, what it is connected to on the host, and how a Linux guest comes to use
// it, all from the words of `cbit run --net`, which are those of QEMU's -nic.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.hpp"
#include "dev/net_backend.hpp"
#include "guest/journal.hpp"
#include "machine/slots.hpp"
#include "net/user_network.hpp"

namespace cbit::guest {

struct TapOptions {
  std::string interface;
};

struct Network {
  std::unique_ptr<dev::NetBackend> backend;  // nullptr: none was wanted
  machine::DeviceRequest device;             // connected to it
  // What a Linux guest runs to have the interface up, with its address where that is known.
  std::string setup;
};

struct NetworkRequest {
  std::variant<std::monostate, net::UserNetworkOptions, TapOptions> where;  // monostate: no network
  machine::DeviceRequest device;
};

// "user[,OPTION=VALUE]...", "tap,ifname=NAME[,OPTION=VALUE]...", "none". Options besides those of the network
// are the device's. Errors (usage): each names what there is.
OrError<NetworkRequest> parse_network(std::string_view text);

// User networks that were not told which they are get one each: 10.0.2.0/24 and fec0::/64, 10.0.3.0/24 and
// fec0:0:0:1::/64, and so on, as far as no other has it.
void share_out_networks(std::span<NetworkRequest> requests);

struct NetworkPlace {
  unsigned slot = 0;       // of the device, on bus 0
  std::size_t number = 0;  // among the machine's networks; the guest's default route is that of the first
};

// With a journal between, if there is one; in a replay nothing of the host's is opened. The device has its
// address (machine::give_addresses()).
// Errors: those of net::UserNetwork and net::Tap.
OrError<Network> open_network(NetworkRequest request, const NetworkPlace& place, Journal* journal = nullptr);

}  // namespace cbit::guest
