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

net::Ipv4 mask_of(unsigned prefix_bits) { return ~net::Ipv4{0} << (32 - prefix_bits); }

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
  options.network = *address & mask_of(options.prefix_bits);
  return {};
}

OrError<void> set_net6(net::UserNetworkOptions& options, std::string_view value) {
  std::string_view rest = value;
  auto address = net::parse_ipv6(take_until(rest, '/'));
  const bool has_bits = value.find('/') != std::string_view::npos;
  if (!address || (has_bits && decimal(rest) != net::ipv6_prefix_bits))
    return usage_error(fmt::format("ipv6-net: {:?} is no network", value),
                       "use ipv6-net=PREFIX/64, as in ipv6-net=fd00:1::/64");
  std::fill(address->begin() + net::ipv6_prefix_bits / 8, address->end(), std::uint8_t{0});
  options.prefix = *address;
  return {};
}

OrError<void> set_forward(net::UserNetworkOptions& options, std::string_view value) {
  options.forwards.push_back(CBIT_TRY(parse_forward(value)));
  return {};
}

// QEMU's words for a switch.
OrError<bool> parse_switch(std::string_view name, std::string_view value) {
  if (value == "on" || value == "y" || value == "yes") return true;
  if (value == "off" || value == "n" || value == "no") return false;
  return usage_error(fmt::format("{}: {:?} is neither on nor off", name, value),
                     fmt::format("use {}=on", name));
}

OrError<void> set_restrict(net::UserNetworkOptions& options, std::string_view value) {
  options.restricted = CBIT_TRY(parse_switch("restrict", value));
  return {};
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
constexpr std::string_view ipv4_option = "ipv4";
constexpr std::string_view ipv6_option = "ipv6";
// Whether there is IPv4 and IPv6 is known when both were read.
template <bool net::UserNetworkOptions::* field>
OrError<void> set_protocol(net::UserNetworkOptions& options, std::string_view value) {
  options.*field =
      CBIT_TRY(parse_switch(field == &net::UserNetworkOptions::ipv4 ? ipv4_option : ipv6_option, value));
  return {};
}
constexpr NetworkOption<net::UserNetworkOptions> user_options[] = {
    {"hostfwd", set_forward},
    {ipv4_option, set_protocol<&net::UserNetworkOptions::ipv4>},
    {ipv6_option, set_protocol<&net::UserNetworkOptions::ipv6>},
    {"ipv6-net", set_net6},
    {"net", set_net},
    {"restrict", set_restrict}};
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

bool is_told(const Words& words, std::string_view option) {
  return std::ranges::any_of(words.options, [option](std::string_view word) {
    return word.starts_with(option) && word.substr(option.size()).starts_with('=');
  });
}

// QEMU's net_init_slirp(): one that is asked for without a word of the other is alone.
OrError<void> choose_protocols(const Words& words, net::UserNetworkOptions& options) {
  const bool told4 = is_told(words, ipv4_option);
  const bool told6 = is_told(words, ipv6_option);
  if (told6 && options.ipv6 && !told4) options.ipv4 = false;
  if (told4 && options.ipv4 && !told6) options.ipv6 = false;
  if (!options.ipv4 && !options.ipv6)
    return usage_error("--net user has neither IPv4 nor IPv6", "leave ipv4=off or ipv6=off out");
  if (!options.ipv4 && (options.network || !options.forwards.empty()))
    return usage_error(
        fmt::format("--net user has no IPv4, and {} is of it", options.network ? "net=" : "hostfwd="),
        "add ipv4=on");
  if (!options.ipv6 && options.prefix)
    return usage_error("--net user has no IPv6, and ipv6-net= is of it", "add ipv6=on");
  return {};
}

// ---- the guest's side -----------------------------------------------------------------------------------

// The interface of the device in that slot; a virtio device has one between.
std::string find_interface(unsigned slot) {
  return fmt::format(
      "for net in /sys/bus/pci/devices/0000:00:{:02x}.0/net/* "
      "/sys/bus/pci/devices/0000:00:{:02x}.0/virtio*/net/*; do\n"
      "  [ ! -e $net ] || break\n"
      "done\n"
      "net=${{net##*/}}\n"
      "ifconfig lo 127.0.0.1\n",
      slot, slot);
}

constexpr std::string_view or_say_so =
    " ||\n  echo \"<3>cbit: the network was not brought up: $net\" > /dev/kmsg\n";

std::string setup4_of(const net::UserNetworkOptions& options, bool is_first) {
  std::string setup = fmt::format("ifconfig $net {} netmask {}", net::to_text(options.guest()),
                                  net::to_text(mask_of(options.prefix_bits)));
  if (is_first) setup += fmt::format(" && route add default gw {}", net::to_text(options.host()));
  return setup.append(or_say_so);
}

// The address that the guest would make of a router's advertisement, now: no other is on this network, so
// that it need not ask whether somebody has it. A kernel without IPv6 goes without.
std::string setup6_of(const net::UserNetworkOptions& options, const dev::MacAddress& device, bool is_first) {
  std::string setup = fmt::format(
      "if [ -d /proc/sys/net/ipv6/conf/$net ]; then\n"
      "  for what in accept_dad accept_ra; do echo 0 > /proc/sys/net/ipv6/conf/$net/$what; done\n"
      "  ifconfig $net up\n"
      "  ip -6 address add {}/{} dev $net",
      net::to_text(options.guest6(device)), net::ipv6_prefix_bits);
  if (is_first)
    setup += fmt::format(" && ip -6 route add default via {} dev $net", net::to_text(options.host6()));
  return setup.append(or_say_so).append("fi\n");
}

std::string setup_of(const net::UserNetworkOptions& options, const NetworkPlace& place,
                     const dev::MacAddress& device) {
  const bool is_first = place.number == 0;
  std::string setup = find_interface(place.slot);
  if (options.ipv6) setup += setup6_of(options, device, is_first);
  if (options.ipv4) setup += setup4_of(options, is_first);
  return setup += fmt::format(
             "mkdir -p /etc\necho nameserver {} >> /etc/resolv.conf\n",
             options.ipv4 ? net::to_text(options.name_server()) : net::to_text(options.name_server6()));
}

std::string setup_of(const TapOptions&, const NetworkPlace& place) {
  return find_interface(place.slot) + "ifconfig $net up\n";
}

// ---- which network each has -----------------------------------------------------------------------------

bool overlap(const net::UserNetworkOptions& one, const net::UserNetworkOptions& other) {
  return ((one.base() ^ other.base()) & mask_of(std::min(one.prefix_bits, other.prefix_bits))) == 0;
}

// The options of the others, as far as they are user networks that know which.
std::vector<const net::UserNetworkOptions*> known_networks(std::span<NetworkRequest> requests,
                                                           bool (*knows)(const net::UserNetworkOptions&)) {
  std::vector<const net::UserNetworkOptions*> known;
  for (const NetworkRequest& request : requests)
    if (const auto* const user = std::get_if<net::UserNetworkOptions>(&request.where);
        user != nullptr && knows(*user))
      known.push_back(user);
  return known;
}

void choose_network(net::UserNetworkOptions& options, std::span<NetworkRequest> requests) {
  constexpr net::Ipv4 step = 0x100;
  const auto others = known_networks(requests, [](const auto& one) { return one.network && one.ipv4; });
  net::UserNetworkOptions tried = options;
  for (tried.network = net::default_user_network;
       std::ranges::any_of(others, [&](const auto* one) { return overlap(*one, tried); });)
    *tried.network += step;
  options.network = tried.network;
}

void choose_prefix(net::UserNetworkOptions& options, std::span<NetworkRequest> requests) {
  const auto others = known_networks(requests, [](const auto& one) { return one.prefix && one.ipv6; });
  net::Ipv6 tried = net::default_user_prefix;
  while (std::ranges::any_of(others, [&](const auto* one) { return *one->prefix == tried; }))
    ++tried[net::ipv6_prefix_bits / 8 - 1];
  options.prefix = tried;
}

}  // namespace

void share_out_networks(std::span<NetworkRequest> requests) {
  for (NetworkRequest& request : requests) {
    auto* const user = std::get_if<net::UserNetworkOptions>(&request.where);
    if (user == nullptr) continue;
    if (user->ipv4 && !user->network) choose_network(*user, requests);
    if (user->ipv6 && !user->prefix) choose_prefix(*user, requests);
  }
}

OrError<NetworkRequest> parse_network(std::string_view text) {
  NetworkRequest request;
  const Words words = words_in(text);
  if (words.kind == "none" && words.options.empty()) return request;
  const machine::DeviceKind* const kind = CBIT_TRY(find_model(words.model));
  std::string device;
  if (words.kind == "user") {
    auto& options = request.where.emplace<net::UserNetworkOptions>();
    device = CBIT_TRY(take_options<net::UserNetworkOptions>(words, user_options, *kind, options));
    CBIT_TRY(choose_protocols(words, options));
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

OrError<Network> open_network(NetworkRequest request, const NetworkPlace& place, Journal* journal) {
  Network network{.device = std::move(request.device)};
  const bool lives = journal == nullptr || !journal->replays();
  if (const auto* const user = std::get_if<net::UserNetworkOptions>(&request.where)) {
    if (lives) network.backend = CBIT_TRY(net::UserNetwork::create(*user));
    network.setup = setup_of(*user, place, machine::address_of(network.device).value_or(dev::default_mac));
  } else if (const auto* const tap = std::get_if<TapOptions>(&request.where)) {
    if (lives) network.backend = CBIT_TRY(net::Tap::open(tap->interface));
    network.setup = setup_of(*tap, place);
  }
  const bool is_one = !std::holds_alternative<std::monostate>(request.where);
  if (is_one && journal != nullptr)
    network.backend = std::make_unique<JournaledNetwork>(*journal, source_of_network(place.number),
                                                         std::move(network.backend));
  if (network.backend) machine::connect(network.device, *network.backend);
  return network;
}

}  // namespace cbit::guest
