#include "guest/network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::guest {
namespace {

using ::testing::HasSubstr;

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
  EXPECT_EQ(open_network(*request)->backend, nullptr);
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
  const auto network = open_network(*parse_network("user,net=192.168.76.0/24"));
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_THAT(network->setup, HasSubstr("192.168.76.15 netmask 255.255.255.0"));
  EXPECT_THAT(network->setup, HasSubstr("default gw 192.168.76.2"));
  EXPECT_EQ(std::get<dev::VirtioNetOptions>(network->device.options).net.network, network->backend.get());
}

}  // namespace
}  // namespace cbit::guest
