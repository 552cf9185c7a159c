#include "cli/run_ssh.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "base/text.hpp"
#include "guest/ssh.hpp"
#include "os/server_socket.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t port_max = 0xffff;
constexpr net::Ipv4 loopback = 0x7f00'0001;
constexpr std::uint16_t ssh_port = 22;

// One that is free now: whoever is quicker takes it, which the forwarding tells then.
OrError<std::uint16_t> free_port() {
  const os::ServerSocket socket = CBIT_TRY(os::ServerSocket::listen("0"));
  const std::string& where = socket.where();
  return static_cast<std::uint16_t>(
      decimal(std::string_view{where}.substr(where.rfind(':') + 1)).value_or(0));
}

OrError<net::UserNetworkOptions*> network_for_ssh(const Arguments& arguments,
                                                  std::vector<guest::NetworkRequest>& networks) {
  if (arguments.all("--net").empty()) networks.push_back(CBIT_TRY(guest::parse_network("user")));
  for (guest::NetworkRequest& network : networks)
    if (auto* const user = std::get_if<net::UserNetworkOptions>(&network.where);
        user != nullptr && user->ipv4)
      return user;
  return usage_error("--ssh forwards a port of a user network with IPv4, and there is none",
                     "add --net user, or leave --net away");
}

OrError<std::string> keys_of(const Arguments& arguments) {
  if (const auto file = arguments.text("--ssh-key")) return guest::read_public_key(*file);
  const char* const home = std::getenv("HOME");
  std::string keys;
  for (const auto& file : CBIT_TRY(guest::public_keys_of_user(home != nullptr ? home : "/")))
    keys += CBIT_TRY(guest::read_public_key(file));
  return keys;
}

}  // namespace

OrError<std::optional<RunSsh>> RunSsh::open(const Arguments& arguments,
                                            std::vector<guest::NetworkRequest>& networks, bool is_replay) {
  const auto wanted = CBIT_TRY(arguments.number("--ssh", 0, port_max));
  if (!wanted) {
    if (arguments.has("--ssh-key")) return usage_error("--ssh-key says who may come in", "add --ssh 0");
    return std::optional<RunSsh>{};
  }
  const auto root = arguments.text("--root");
  if (!root) return usage_error("--ssh starts the sshd of the guest's root", "add --root /");
  CBIT_TRY(guest::check_has_sshd(std::string{*root}));
  RunSsh ssh{.keys = CBIT_TRY(keys_of(arguments)), .line = {}};
  net::UserNetworkOptions* const network = CBIT_TRY(network_for_ssh(arguments, networks));
  if (is_replay) return std::optional{std::move(ssh)};
  const auto port = static_cast<std::uint16_t>(*wanted == 0 ? CBIT_TRY(free_port()) : *wanted);
  network->forwards.push_back({.host = loopback, .host_port = port, .guest_port = ssh_port});
  ssh.line = guest::ssh_command_line(port, std::string{arguments.text("--ssh-key").value_or("")});
  return std::optional{std::move(ssh)};
}

}  // namespace cbit::cli
