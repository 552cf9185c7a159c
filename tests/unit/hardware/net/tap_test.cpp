#include "net/tap.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::net {
namespace {

using ::testing::HasSubstr;

TEST(Tap, RefusesANameThatIsNone) {
  for (const std::string name : {"", "sixteen-letters-"}) {
    const auto tap = Tap::open(name);
    ASSERT_FALSE(tap);
    EXPECT_EQ(tap.error().code, ExitCode::usage);
    EXPECT_THAT(tap.error().hint, HasSubstr("1 to 15"));
  }
}

// The loopback interface is there on any host, and is none of the driver's.
TEST(Tap, SaysWhyItCannotHaveAnInterface) {
  const auto tap = Tap::open("lo");
  ASSERT_FALSE(tap);
  EXPECT_EQ(tap.error().code, ExitCode::bad_input);
  EXPECT_FALSE(tap.error().hint.empty());
}

}  // namespace
}  // namespace cbit::net
