#include "guest/network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::guest {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

net::UserNetworkOptions user(std::string_view text) {
  const auto request = parse_network(text);
  EXPECT_TRUE(request) << request.error().message;
  return request ? std::get<net::UserNetworkOptions>(request->where) : net::UserNetworkOptions{};
}

// QEMU's documentation of -netdev user: the guest at .15, the host at .2, the name server at .3 of
// 10.0.2.0/24.
TEST(NetworkRequest, OfAUserNetworkHasQemusAddresses) {
  const net::UserNetworkOptions options = user("user");
  EXPECT_EQ(net::to_text(options.guest()), "10.0.2.15");
  EXPECT_EQ(net::to_text(options.host()), "10.0.2.2");
  EXPECT_EQ(net::to_text(options.name_server()), "10.0.2.3");
  EXPECT_FALSE(options.restricted);
}

TEST(NetworkRequest, ForwardsPortsInQemusWords) {
  const auto options =
      user("user,hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22,hostfwd=udp::53-:5353,hostfwd=::1-:2");
  ASSERT_EQ(options.forwards.size(), 3u);
  const net::PortForward& first = options.forwards[0];
  EXPECT_EQ(first.protocol, net::PortForward::Protocol::tcp);
  EXPECT_EQ(net::to_text(first.host), "127.0.0.1");
  EXPECT_EQ(first.host_port, 2222);
  EXPECT_EQ(net::to_text(first.guest), "10.0.2.15");
  EXPECT_EQ(first.guest_port, 22);
  EXPECT_EQ(options.forwards[1].protocol, net::PortForward::Protocol::udp);
  EXPECT_EQ(options.forwards[1].host, 0u);
  EXPECT_EQ(options.forwards[2].protocol, net::PortForward::Protocol::tcp) << "without a word it is TCP";
}

TEST(NetworkRequest, MayHaveAnotherNetworkAndBeRestricted) {
  const auto options = user("user,net=192.168.76.9/25,restrict=on");
  EXPECT_EQ(net::to_text(options.guest()), "192.168.76.15");
  EXPECT_EQ(options.prefix_bits, 25u);
  EXPECT_TRUE(options.restricted);
  EXPECT_EQ(net::to_text(user("user,net=192.168.76.0").guest()), "192.168.76.15");
}

TEST(NetworkRequest, LeavesTheDevicesOptionsToTheDevice) {
  const auto request = parse_network("tap,ifname=tap0,model=virtio,packed=on,mac=52:54:00:00:00:07");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(std::get<TapOptions>(request->where).interface, "tap0");
  EXPECT_EQ(request->device.kind->name, "virtio-net");
  const auto& device = std::get<dev::VirtioNetOptions>(request->device.options);
  EXPECT_TRUE(device.virtio.packed);
  EXPECT_EQ(device.net.mac, (dev::MacAddress{0x52, 0x54, 0, 0, 0, 7}));
}

TEST(NetworkRequest, NamesTheModel) {
  EXPECT_EQ(parse_network("user,model=e1000")->device.kind->name, "e1000");
  EXPECT_EQ(parse_network("user,model=virtio-net-pci")->device.kind->name, "virtio-net");
  EXPECT_EQ(parse_network("user")->device.kind->name, "virtio-net");
}

TEST(NetworkRequest, OfNoneHasNoDevice) {
  const auto request = parse_network("none");
  ASSERT_TRUE(request);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(request->where));
  EXPECT_EQ(open_network(*request, {})->backend, nullptr);
}

TEST(NetworkRequest, ThatIsNoneSaysWhatThereIs) {
  const struct {
    std::string_view text;
    std::string_view message;
  } cases[] = {
      {"", "there is no such network"},
      {"usr", "there is no such network"},
      {"none,restrict=on", "there is no such network"},
      {"tap", "--net tap has no interface"},
      {"tap,hostfwd=tcp::1-:2", "--net tap has no option \"hostfwd\""},
      {"user,foo=1", "--net user has no option \"foo\""},
      {"user,,", "--net user has no option \"\""},
      {"user,model=ne2k", "model: \"ne2k\" is no network device"},
      {"user,model=e1000,packed=on", "--net user has no option \"packed\""},
      {"user,mac=ff:ff:ff:ff:ff:ff", "mac: "},
      {"user,restrict=maybe", "restrict: \"maybe\""},
      {"user,restrict", "restrict: \"\""},
      {"user,net=10.0.2.0/28", "net: \"10.0.2.0/28\""},
      {"user,net=10.0.2.0/7", "net: \"10.0.2.0/7\""},
      {"user,net=10.0.2.0/", "net: \"10.0.2.0/\""},
      {"user,net=here", "net: \"here\""},
      {"user,ipv6-net=here", "ipv6-net: \"here\""},
      {"user,ipv6-net=fec0::/48", "ipv6-net: \"fec0::/48\""},
      {"user,ipv6-net=10.0.2.0/64", "ipv6-net: "},
      {"user,ipv6=maybe", "ipv6: \"maybe\""},
      {"user,ipv4=off,ipv6=off", "--net user has neither IPv4 nor IPv6"},
      {"user,ipv6=on,net=10.0.3.0/24", "--net user has no IPv4, and net= is of it"},
      {"user,ipv4=off,hostfwd=tcp::1-:2", "--net user has no IPv4, and hostfwd= is of it"},
      {"user,ipv4=on,ipv6-net=fd00::/64", "--net user has no IPv6"},
      {"tap,ifname=tap0,ipv6=on", "--net tap has no option \"ipv6\""},
      {"user,hostfwd=", "hostfwd: \"\""},
      {"user,hostfwd=tcp::22", "hostfwd: \"tcp::22\""},
      {"user,hostfwd=tcp::0-:22", "hostfwd: "},
      {"user,hostfwd=tcp::65536-:22", "hostfwd: "},
      {"user,hostfwd=sctp::1-:2", "hostfwd: "},
      {"user,hostfwd=tcp:localhost:1-:2", "hostfwd: "},
      {"user,hostfwd=tcp::1-:2:3", "hostfwd: "},
  };
  for (const auto& [text, message] : cases) {
    const auto request = parse_network(text);
    ASSERT_FALSE(request) << text;
    EXPECT_THAT(request.error().message, HasSubstr(message)) << text;
    EXPECT_FALSE(request.error().hint.empty()) << text;
    EXPECT_EQ(request.error().code, ExitCode::usage) << text;
  }
}

TEST(Network, TellsTheGuestItsAddresses) {
  const auto network = open_network(*parse_network("user,net=192.168.76.0/24"), {.slot = 12, .number = 0});
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_THAT(network->setup, HasSubstr("/sys/bus/pci/devices/0000:00:0c.0/virtio*/net/*"));
  EXPECT_THAT(network->setup, HasSubstr("192.168.76.15 netmask 255.255.255.0"));
  EXPECT_THAT(network->setup, HasSubstr("default gw 192.168.76.2"));
  EXPECT_THAT(network->setup, HasSubstr("nameserver 192.168.76.3"));
  // RFC 4291, appendix A: 34-56-78-9A-BC-DE becomes 36-56-78-FF-FE-9A-BC-DE.
  EXPECT_THAT(network->setup, HasSubstr("address add fec0::5054:ff:fe12:3456/64"));
  EXPECT_THAT(network->setup, HasSubstr("default via fec0::2"));
  EXPECT_EQ(std::get<dev::VirtioNetOptions>(network->device.options).net.network, network->backend.get());
}

TEST(Network, BeyondTheFirstHasNoDefaultRoute) {
  const auto network = open_network(*parse_network("user"), {.slot = 4, .number = 1});
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_THAT(network->setup, Not(HasSubstr("default")));
  EXPECT_THAT(network->setup, HasSubstr("ifconfig $net 10.0.2.15"));
}

TEST(Network, WithoutOneOfTheProtocolsHasNothingOfIt) {
  const auto only6 = open_network(*parse_network("user,ipv6=on"), {});
  EXPECT_THAT(only6->setup, Not(HasSubstr("10.0.2")));
  EXPECT_THAT(only6->setup, HasSubstr("nameserver fec0::3"));
  EXPECT_THAT(open_network(*parse_network("user,ipv4=on"), {})->setup, Not(HasSubstr("ip -6")));
}

// net_init_slirp() of QEMU's net/slirp.c.
TEST(NetworkRequest, HasBothProtocolsUnlessOneIsAskedForAlone) {
  const struct {
    std::string_view text;
    bool ipv4;
    bool ipv6;
  } cases[] = {{"user", true, true},
               {"user,ipv4=on", true, false},
               {"user,ipv6=on", false, true},
               {"user,ipv4=off", false, true},
               {"user,ipv6=off", true, false},
               {"user,ipv4=on,ipv6=on", true, true},
               {"user,ipv4=y,ipv6=no", true, false}};
  for (const auto& [text, ipv4, ipv6] : cases) {
    EXPECT_EQ(user(text).ipv4, ipv4) << text;
    EXPECT_EQ(user(text).ipv6, ipv6) << text;
  }
}

TEST(NetworkRequest, HasQemusAddressesOfIpv6) {
  EXPECT_EQ(net::to_text(user("user").base6()), "fec0::");
  EXPECT_EQ(net::to_text(user("user").host6()), "fec0::2");
  EXPECT_EQ(net::to_text(user("user").name_server6()), "fec0::3");
  EXPECT_EQ(net::to_text(user("user,ipv6-net=fd00:1:2:3:4::5").base6()), "fd00:1:2:3::");
}

TEST(NetworkRequests, GetANetworkOfTheirOwnWhereTheyNameNone) {
  std::vector<NetworkRequest> requests;
  for (const std::string_view text : {"user", "user", "tap,ifname=tap0",
                                      "user,net=10.0.4.128/25,ipv6-net=fec0:0:0:2::", "user", "user,ipv6=on"})
    requests.push_back(*parse_network(text));
  requests[5].where = user("user,ipv4=on,ipv6=on");
  share_out_networks(requests);
  const auto of = [&](std::size_t at) { return std::get<net::UserNetworkOptions>(requests[at].where); };
  EXPECT_EQ(net::to_text(of(0).guest()), "10.0.2.15");
  EXPECT_EQ(net::to_text(of(1).guest()), "10.0.3.15");
  EXPECT_EQ(net::to_text(of(3).guest()), "10.0.4.143") << "as it was named";
  EXPECT_EQ(net::to_text(of(4).guest()), "10.0.5.15") << "10.0.4.0/24 has a part that another one has";
  EXPECT_EQ(net::to_text(of(5).guest()), "10.0.6.15");
  EXPECT_EQ(net::to_text(of(0).host6()), "fec0::2");
  EXPECT_EQ(net::to_text(of(1).host6()), "fec0:0:0:1::2");
  EXPECT_EQ(net::to_text(of(4).host6()), "fec0:0:0:3::2");
}

TEST(NetworkRequests, ThatNameOneTwiceKeepIt) {
  std::vector<NetworkRequest> requests(2, *parse_network("user,net=10.0.2.0/24,ipv6-net=fec0::"));
  share_out_networks(requests);
  for (const NetworkRequest& one : requests)
    EXPECT_EQ(net::to_text(std::get<net::UserNetworkOptions>(one.where).guest()), "10.0.2.15");
}

// qemu_macaddr_default_if_unset().
TEST(NetworkDevices, GetTheAddressesThatQemuGives) {
  std::vector<machine::DeviceRequest> devices;
  for (const std::string_view text :
       {"virtio-net", "test-dma", "e1000,mac=52:54:00:12:34:57", "virtio-net", "e1000"})
    devices.push_back(*machine::parse_device(text));
  std::vector<machine::DeviceRequest*> all;
  for (machine::DeviceRequest& device : devices) all.push_back(&device);
  machine::give_addresses(all);
  using Mac = dev::MacAddress;
  EXPECT_EQ(machine::address_of(devices[0]), (Mac{0x52, 0x54, 0, 0x12, 0x34, 0x56}));
  EXPECT_EQ(machine::address_of(devices[1]), std::nullopt);
  EXPECT_EQ(machine::address_of(devices[2]), (Mac{0x52, 0x54, 0, 0x12, 0x34, 0x57}));
  EXPECT_EQ(machine::address_of(devices[3]), (Mac{0x52, 0x54, 0, 0x12, 0x34, 0x58}));
  EXPECT_EQ(machine::address_of(devices[4]), (Mac{0x52, 0x54, 0, 0x12, 0x34, 0x59}));
}

}  // namespace
}  // namespace cbit::guest
