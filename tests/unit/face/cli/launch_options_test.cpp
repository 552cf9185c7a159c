#include "cli/launch_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/parse.hpp"

namespace cbit::cli {
namespace {

using testing::HasSubstr;

OrError<launch::LaunchRequest> request_of(std::vector<std::string_view> words) {
  words.insert(words.begin(), "launch");
  const auto parsed = parse_command_line(words);
  if (!parsed) return tl::unexpected{parsed.error()};
  return launch_request(parsed->arguments);
}

TEST(LaunchOptions, TakeADiskApartAsQemuDoes) {
  EXPECT_EQ(parse_disk("a.img"), (launch::DiskRequest{.file = "a.img"}));
  EXPECT_EQ(parse_disk("file=a,,b.img,format=qcow2,ro,id=root"),
            (launch::DiskRequest{.file = "a,b.img", .format = "qcow2", .read_only = true, .id = "root"}));
  EXPECT_EQ(parse_disk("a,ro=off")->read_only, false);
  for (const std::string_view bad : {"", ",ro", "a,format=vmdk", "a,ro=maybe", "a,", "a,id=", "a,cache=none"})
    EXPECT_EQ(parse_disk(bad).error().code, ExitCode::usage) << bad;
}

TEST(LaunchOptions, TakeANetworkApart) {
  EXPECT_FALSE(parse_net("none")->has_value());
  EXPECT_EQ(**parse_net("user,hostfwd=tcp::2222-:22"), (launch::NetRequest{.forwards = "tcp::2222-:22"}));
  EXPECT_EQ(**parse_net("tap,ifname=tap0,vhost=on,id=lan"),
            (launch::NetRequest{.kind = launch::NetKind::tap, .ifname = "tap0", .vhost = true, .id = "lan"}));
  for (const std::string_view bad :
       {"", "bridge", "none,id=x", "user,vhost=on", "tap,hostfwd=x", "tap,ifname="})
    EXPECT_FALSE(parse_net(bad)) << bad;
}

TEST(LaunchOptions, CollectWhatIsRepeated) {
  const auto request = request_of({"--disk", "a", "--net", "user", "--disk", "b,ro", "--net=none"});
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->disks.size(), 2u);
  EXPECT_EQ(request->disks[1].file, "b");
  EXPECT_EQ(request->nets.size(), 1u);
}

TEST(LaunchOptions, PassOnWhatFollowsTwoDashes) {
  const auto request = request_of({"--cpus", "2", "--", "-device", "virtio-balloon-pci", "-S"});
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->extra.size(), 2u);
  EXPECT_EQ(request->extra[0].value("driver"), "virtio-balloon-pci");
  EXPECT_FALSE(request_of({"--", "disk.img"}));
  EXPECT_FALSE(request_of({"--", "-no-such-option"}));
}

TEST(LaunchOptions, RefuseContradictionsAndWhatIsOutOfRange) {
  EXPECT_THAT(request_of({"--no-encryption", "--protection", "sev"}).error().message,
              HasSubstr("contradicts"));
  EXPECT_EQ(request_of({"--no-encryption"})->protection, launch::Protection::none);
  EXPECT_EQ(request_of({})->protection, std::nullopt);
  EXPECT_FALSE(request_of({"--cpus", "0"}));
  EXPECT_FALSE(request_of({"--cbitpos", "64"}));
  EXPECT_FALSE(request_of({"--vsock", "2"}));
  EXPECT_FALSE(request_of({"--memory", "1P"}));
}

}  // namespace
}  // namespace cbit::cli
