#include "guest/network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/text.hpp"
#include "guest/journal_devices.hpp"
#include "net/tap.hpp"

namespace cbit::guest {
namespace {

constexpr std::uint64_t port_max = 0xffff;
constexpr unsigned prefix_bits_min = 8;
constexpr unsigned prefix_bits_max = 27;  // the guest is at .15

std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

// ---- values ---------------------------------------------------------------------------------------------

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto port = decimal(text);
  if (!port || *port == 0 || *port > port_max) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

// "[ADDRESS]:PORT"; without an address it is 0.
bool parse_end(std::string_view text, net::Ipv4& address, std::uint16_t& port) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view host = text.substr(0, colon);
  const auto parsed_host = host.empty() ? std::optional<net::Ipv4>{0} : net::parse_ipv4(host);
  const auto parsed_port = parse_port(text.substr(colon + 1));
  if (!parsed_host || !parsed_port) return false;
  address = *parsed_host;
  port = *parsed_port;
  return true;
}

OrError<net::PortForward> parse_forward(std::string_view text) {
  const auto no_forward = [text] {
    return usage_error(
        fmt::format("hostfwd: {:?} is no forwarded port", text),
        "use hostfwd=tcp:[ADDRESS]:PORT-[ADDRESS]:PORT, the host's before the guest's, ports 1 "
        "to 65535");
  };
  net::PortForward forward;
  std::string_view rest = text;
  const std::string_view protocol = take_until(rest, ':');
  if (protocol == "udp")
    forward.protocol = net::PortForward::Protocol::udp;
  else if (!protocol.empty() && protocol != "tcp")
    return no_forward();
  const std::string_view host = take_until(rest, '-');
  if (!parse_end(host, forward.host, forward.host_port) ||
      !parse_end(rest, forward.guest, forward.guest_port))
    return no_forward();
  return forward;
}

OrError<void> set_net(net::UserNetworkOptions& options, std::string_view value) {
  std::string_view rest = value;
  const auto address = net::parse_ipv4(take_until(rest, '/'));
  const bool has_bits = value.find('/') != std::string_view::npos;
  const auto bits = has_bits ? decimal(rest) : std::optional<std::uint64_t>{24};
  if (!address || !bits || *bits < prefix_bits_min || *bits > prefix_bits_max)
    return usage_error(fmt::format("net: {:?} is no network", value),
                       fmt::format("use net=ADDRESS/BITS, {} to {} bits, as in net=192.168.76.0/24",
                                   prefix_bits_min, prefix_bits_max));
  options.prefix_bits = static_cast<unsigned>(*bits);
  options.network = *address & ~net::Ipv4{0} << (32 - options.prefix_bits);
  return {};
}

OrError<void> set_forward(net::UserNetworkOptions& options, std::string_view value) {
  options.forwards.push_back(CBIT_TRY(parse_forward(value)));
  return {};
}

OrError<void> set_restrict(net::UserNetworkOptions& options, std::string_view value) {
  options.restricted = value == "on" || value == "y" || value == "yes";
  if (options.restricted || value == "off" || value == "n" || value == "no") return {};
  return usage_error(fmt::format("restrict: {:?} is neither on nor off", value), "use restrict=on");
}

OrError<void> set_ifname(TapOptions& options, std::string_view value) {
  options.interface = value;
  return {};
}

// ---- options --------------------------------------------------------------------------------------------

template <class Options>
struct NetworkOption {
  std::string_view name;
  OrError<void> (*set)(Options& options, std::string_view value);
};
constexpr NetworkOption<net::UserNetworkOptions> user_options[] = {
    {"hostfwd", set_forward}, {"net", set_net}, {"restrict", set_restrict}};
constexpr NetworkOption<TapOptions> tap_options[] = {{"ifname", set_ifname}};

// The words behind the kind, shared out.
struct Words {
  std::string_view kind;
  std::vector<std::string_view> options;
  std::string_view model = "virtio-net";
};

Words words_in(std::string_view text) {
  Words words{.kind = take_until(text, ',')};
  while (!text.empty()) {
    const std::string_view option = take_until(text, ',');
    constexpr std::string_view model = "model=";
    if (option.starts_with(model))
      words.model = option.substr(model.size());
    else
      words.options.push_back(option);
  }
  return words;
}

// QEMU's and Linux's short name.
std::string_view device_of(std::string_view model) {
  return model == "virtio" || model == "virtio-net-pci" ? "virtio-net" : model;
}

bool is_network_device(const machine::DeviceKind& kind) {
  return kind.identity.class_code.base == spec::pci_class::network_ethernet.base;
}

OrError<const machine::DeviceKind*> find_model(std::string_view model) {
  std::vector<std::string_view> names;
  for (const machine::DeviceKind& kind : machine::device_kinds()) {
    if (!is_network_device(kind)) continue;
    if (kind.name == device_of(model)) return &kind;
    names.push_back(kind.name);
  }
  return usage_error(fmt::format("model: {:?} is no network device", model), did_you_mean(model, names));
}

// The network's options are taken; the others are the device's, as its text.
template <class Options>
OrError<std::string> take_options(const Words& words, std::span<const NetworkOption<Options>> table,
                                  const machine::DeviceKind& kind, Options& options) {
  std::string device{kind.name};
  for (const std::string_view word : words.options) {
    std::string_view value = word;
    const std::string_view name = take_until(value, '=');
    if (const auto found = std::ranges::find(table, name, &NetworkOption<Options>::name);
        found != table.end()) {
      CBIT_TRY(found->set(options, value));
      continue;
    }
    if (std::ranges::find(kind.options, name, &machine::DeviceOption::name) == kind.options.end()) {
      std::vector<std::string_view> names{"model"};
      for (const auto& option : table) names.push_back(option.name);
      for (const machine::DeviceOption& option : kind.options) names.push_back(option.name);
      return usage_error(fmt::format("--net {} has no option {:?}", words.kind, name),
                         did_you_mean(name, names));
    }
    device += ',' + std::string{word};
  }
  return device;
}

// ---- the guest's side -----------------------------------------------------------------------------------

// The first interface that is a device's.
constexpr std::string_view find_interface =
    "for net in /sys/class/net/*; do\n"
    "  [ ! -e $net/device ] || break\n"
    "done\n"
    "net=${net##*/}\n"
    "ifconfig lo 127.0.0.1\n";

std::string setup_of(const net::UserNetworkOptions& options) {
  return fmt::format(
      "{}ifconfig $net {} netmask {} && route add default gw {} ||\n"
      "  echo '<3>cbit: the network was not brought up' > /dev/kmsg\n"
      "mkdir -p /etc\n"
      "echo nameserver {} > /etc/resolv.conf\n",
      find_interface, net::to_text(options.guest()),
      net::to_text(~net::Ipv4{0} << (32 - options.prefix_bits)), net::to_text(options.host()),
      net::to_text(options.name_server()));
}

std::string setup_of(const TapOptions&) { return std::string{find_interface} + "ifconfig $net up\n"; }

}  // namespace

OrError<NetworkRequest> parse_network(std::string_view text) {
  NetworkRequest request;
  const Words words = words_in(text);
  if (words.kind == "none" && words.options.empty()) return request;
  const machine::DeviceKind* const kind = CBIT_TRY(find_model(words.model));
  std::string device;
  if (words.kind == "user") {
    auto& options = request.where.emplace<net::UserNetworkOptions>();
    device = CBIT_TRY(take_options<net::UserNetworkOptions>(words, user_options, *kind, options));
  } else if (words.kind == "tap") {
    auto& options = request.where.emplace<TapOptions>();
    device = CBIT_TRY(take_options<TapOptions>(words, tap_options, *kind, options));
    if (options.interface.empty())
      return usage_error("--net tap has no interface", "name one: --net tap,ifname=tap0");
  } else {
    return usage_error(fmt::format("--net {}: there is no such network", text),
                       did_you_mean(words.kind, {"user", "tap", "none"}));
  }
  request.device = CBIT_TRY(machine::parse_device(device));
  return request;
}

OrError<Network> open_network(NetworkRequest request, Journal* journal) {
  Network network{.device = std::move(request.device)};
  const bool lives = journal == nullptr || !journal->replays();
  if (const auto* const user = std::get_if<net::UserNetworkOptions>(&request.where)) {
    if (lives) network.backend = CBIT_TRY(net::UserNetwork::create(*user));
    network.setup = setup_of(*user);
  } else if (const auto* const tap = std::get_if<TapOptions>(&request.where)) {
    if (lives) network.backend = CBIT_TRY(net::Tap::open(tap->interface));
    network.setup = setup_of(*tap);
  }
  const bool is_one = !std::holds_alternative<std::monostate>(request.where);
  if (is_one && journal != nullptr)
    network.backend = std::make_unique<JournaledNetwork>(*journal, std::move(network.backend));
  if (network.backend) machine::connect(network.device, *network.backend);
  return network;
}

}  // namespace cbit::guest
