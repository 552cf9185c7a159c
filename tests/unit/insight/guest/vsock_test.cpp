#include "guest/vsock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::guest {
namespace {

using ::testing::HasSubstr;

TEST(VsockRequest, HasAPathAndTheDevicesOptionsBehindIt) {
  const auto plain = parse_vsock("/tmp/s");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->path, "/tmp/s");
  EXPECT_EQ(std::get<dev::VirtioVsockOptions>(plain->device.options).guest_cid, 3u);
  const auto more = parse_vsock("a,b,packed=on,guest-cid=4294967294");
  ASSERT_TRUE(more) << more.error().message;
  EXPECT_EQ(more->path, "a,b") << "a comma without an option is the name's";
  const auto& options = std::get<dev::VirtioVsockOptions>(more->device.options);
  EXPECT_TRUE(options.virtio.packed);
  EXPECT_EQ(options.guest_cid, 0xffff'fffeu);
}

TEST(VsockRequest, RefusesOtherOptionsAndCids) {
  for (const char* text :
       {"s,guest-cid=2", "s,guest-cid=4294967295", "s,guest-cid=", "s,guest-cid=x", "s,guest-cid=3x"}) {
    const auto request = parse_vsock(text);
    ASSERT_FALSE(request) << text;
    EXPECT_EQ(request.error().code, ExitCode::usage);
    EXPECT_THAT(request.error().hint, HasSubstr("guest-cid=3..4294967294"));
  }
  const auto unknown = parse_vsock("s,guest_cid=5");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().hint, HasSubstr("guest-cid"));
}

}  // namespace
}  // namespace cbit::guest
